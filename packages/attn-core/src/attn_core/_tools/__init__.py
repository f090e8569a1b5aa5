"""Tools for the layers: insert them into models, draw their maps, measure their cost."""
