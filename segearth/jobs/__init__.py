"""What long work needs, whatever it works on: locks between processes."""
