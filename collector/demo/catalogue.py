"""Catalogue: what the demo shop sells."""

from typing import Any, Literal, NamedTuple, get_args

Category = Literal["Shoes", "Bags", "Home"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
CURRENCY = "EUR"


class Product(NamedTuple):
    """One thing for sale. The id is its place in URLs and event data, and names its picture."""

    id: str
    name: str
    category: Category
    price: int  # whole euros
    line: str  # one sentence under the name
    text: str

    def item(self, quantity: int = 1) -> dict[str, Any]:
        """The product as a line item of event data."""
        return {
            "product_id": self.id,
            "product_name": self.name,
            "product_category": self.category,
            "product_price": self.price,
            "product_quantity": quantity,
        }


PRODUCTS = (
    Product(
        "harbour", "Harbour Runner", "Shoes", 119, "Light, knitted, made for wet quays.",
        "A knitted upper on a springy sole that grips wet stone. It weighs less than a paperback and dries overnight.",
    ),
    Product(
        "moss", "Moss Boot", "Shoes", 179, "Waxed leather that forgives the weather.",
        "Waxed leather, a stitched welt that a cobbler can open, and a lining that stays warm when it is damp.",
    ),
    Product(
        "chalk", "Chalk Low", "Shoes", 99, "The plain white one, done well.",
        "Full-grain leather, a cupsole that is sewn and not only glued, and laces that do not come undone.",
    ),
    Product(
        "sand", "Sand Loafer", "Shoes", 149, "Soft from the first morning.",
        "Unlined suede on a flexible leather sole. Slip it on, forget it until the evening.",
    ),
    Product(
        "market", "Market Tote", "Bags", 59, "Heavy canvas, long handles.",
        "Eighteen-ounce canvas that stands up by itself, handles long enough for a winter coat, one pocket for keys.",
    ),
    Product(
        "ferry", "Ferry Rucksack", "Bags", 139, "Room for two days away.",
        "A roll-top that keeps out a downpour, a padded sleeve, and straps that do not slip off narrow shoulders.",
    ),
    Product(
        "orbit", "Orbit Crossbody", "Bags", 89, "Phone, keys, one good book.",
        "Vegetable-tanned leather in a half moon. It darkens with the years, and shows where you have been.",
    ),
    Product(
        "weekend", "Weekend Holdall", "Bags", 189, "Fits under the seat.",
        "Waxed cotton with leather handles. Fits under a train seat, and swallows more than it should.",
    ),
    Product(
        "dusk", "Dusk Lamp", "Home", 129, "Warm light, dimmed by a touch.",
        "A spun-metal shade over an oak foot. Touch it to dim, down to the light of one candle.",
    ),
    Product(
        "tide", "Tide Vase", "Home", 64, "Stoneware, thrown by hand.",
        "Stoneware with a glaze that breaks over the rim. No two have quite the same line.",
    ),
    Product(
        "morning", "Morning Mug", "Home", 24, "Holds exactly enough.",
        "A wide handle for three fingers and a rim that is thin where it matters. Safe in the dishwasher.",
    ),
    Product(
        "perch", "Perch Stool", "Home", 149, "Three legs never wobble.",
        "Solid oak, wedged joints, no screw. Three legs stand still on any floor.",
    ),
)  # fmt: skip
BY_ID = {product.id: product for product in PRODUCTS}


def of(category: str) -> list[Product]:
    return [product for product in PRODUCTS if product.category == category]


def found(query: str) -> list[Product]:
    """The products in whose name, category or text every word of the query occurs."""
    words = query.lower().split()
    return [
        product
        for product in PRODUCTS
        if words
        and all(
            word in f"{product.name} {product.category} {product.line} {product.text}".lower()
            for word in words
        )
    ]
