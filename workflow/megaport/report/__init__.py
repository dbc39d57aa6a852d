"""The report: everything known of every model on one page that needs no network."""
