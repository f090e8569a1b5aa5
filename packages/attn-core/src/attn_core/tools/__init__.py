"""What is done with the layers: put them into models, look at them, measure them."""
