"""Programs that run in the environments that are asked about; they need nothing but what is asked for."""
