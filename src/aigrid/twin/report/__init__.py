"""What a rehearsal found, for people: figures, the verdict, and a page that opens offline."""
