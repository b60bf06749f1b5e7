"""The worker plane: what runs inside an Attempt. It never imports the control plane."""
