"""Data of your own as parts of a recipe: folders of pictures, files of texts, tables; found, checked and split."""
