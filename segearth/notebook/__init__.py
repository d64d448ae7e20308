"""What maps look like in a notebook: an interactive map where folium is, else a picture; and a table."""
