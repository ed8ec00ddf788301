"""What the product does under load: `python -m loadtest.bench` measures it, `locustfile.py` sends shoppers."""
