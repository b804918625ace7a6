"""What people read: tables, figures, HTML, Markdown, CSV. Reads run folders; may import the harness's records and statistics only."""
