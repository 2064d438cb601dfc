"""Files of a home: safe paths, documents written whole, names of writers. What is kept in them: the other rooms."""
