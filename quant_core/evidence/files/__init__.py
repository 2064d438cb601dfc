"""Files of a home: safe paths, atomic writes, names of writers. Their content: the other rooms."""
