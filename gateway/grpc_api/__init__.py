"""The inference API over gRPC: every protocol's services on one port."""
