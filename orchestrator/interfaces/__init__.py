"""How people and programs reach the system: the command line, and the receiver of Reports."""
