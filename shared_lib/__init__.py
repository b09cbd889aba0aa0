"""What more than one function needs: four floors of rooms; imports only go down (see ARCHITECTURE.md)."""
