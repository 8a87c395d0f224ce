"""`make bench-certify`: whether what is promised is kept, on images like those certified on, unlike them, and over time."""
