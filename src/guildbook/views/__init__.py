"""Views: every table and event of every contract as SQL, followed block by block from the change feed."""
