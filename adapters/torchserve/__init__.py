"""TorchServe, a child of the gateway or one elsewhere: TorchScript by tensors, .mar archives by raw bodies."""
