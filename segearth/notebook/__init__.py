"""Display of maps in notebooks: an interactive map with folium, else an image; and a table."""
