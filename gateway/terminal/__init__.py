"""What people see in their terminal: tables, progress, and files made into requests."""
