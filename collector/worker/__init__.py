"""The worker: streams → audience columns and the archive, and the chores around them."""
