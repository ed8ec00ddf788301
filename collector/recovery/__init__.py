"""Recovery: backup, restore and rebuild. Columns are never copied: they are remade from the archive."""
