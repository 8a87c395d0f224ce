"""What people are asked and how their answers become one: items, consensus, golds, who may read what. Pure."""
