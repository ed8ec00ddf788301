"""Pictures: the products as SVG, drawn on a square of 400 by hand."""

from collector.demo.catalogue import Product

_SHADOW = '<ellipse cx="200" cy="{y}" rx="{rx}" ry="11" fill="#1d1a16" opacity=".13"/>'


def picture(product: Product) -> str:
    """The product's picture as an inline SVG element."""
    backdrop, drawing = DRAWINGS[product.id]
    return (
        f'<svg viewBox="0 0 400 400" role="img" aria-label="{product.name}" xmlns="http://www.w3.org/2000/svg">'
        f'<rect width="400" height="400" fill="{backdrop}"/>{drawing}</svg>'
    )


def _shadow(y: int, rx: int) -> str:
    return _SHADOW.format(y=y, rx=rx)


def _low_shoe(upper: str, shade: str, sole: str, accent: str, *, runner: bool) -> str:
    """A trainer from its side, toe to the right; a runner has the thicker, waved sole."""
    tread = (
        f'<path d="M50 262C96 274 150 258 206 264 264 270 312 256 352 262 360 280 352 304 326 306L92 308'
        f'C58 308 46 286 50 262Z" fill="{sole}"/>'
        f'<path d="M54 284C110 296 160 280 214 286 268 292 316 280 354 284 350 298 340 305 326 306L92 308'
        f'C66 308 55 298 54 284Z" fill="#000" opacity=".09"/>'
        if runner
        else f'<path d="M56 260H350C356 272 354 294 336 296H82C62 296 52 280 56 260Z" fill="{sole}"/>'
        f'<path d="M57 276H352C350 290 346 295 336 296H82C66 296 58 288 57 276Z" fill="#000" opacity=".07"/>'
    )
    mark = (
        f'<path d="M112 272C126 226 152 204 186 196 176 222 178 248 192 272Z" fill="{accent}"/>'
        if runner
        else f'<path d="M60 196C58 214 57 238 58 260H92C86 236 86 214 92 192Z" fill="{accent}"/>'
    )
    holes = "".join(
        f'<path d="M{x} {y}l-30 -13" stroke="{sole}" stroke-width="6" stroke-linecap="round"/>'
        for x, y in ((214, 171), (231, 187), (250, 201), (271, 213))
    )
    return (
        _shadow(306, 164)
        + f'<path d="M60 274C56 226 58 184 72 158 78 146 92 144 100 154 116 176 146 178 166 160'
        f'C174 152 182 142 192 138 204 134 212 142 216 150 236 188 268 208 306 216 338 222 352 240 352 274Z" fill="{upper}"/>'
        f'<path d="M352 274C352 240 338 222 306 216 298 214 290 212 282 209 276 228 278 250 292 274Z" fill="{shade}"/>'
        f'<path d="M72 158C78 146 92 144 100 154 116 176 146 178 166 160 172 154 178 148 184 143 178 168 154 190 124 186'
        f' 98 183 80 172 72 158Z" fill="{shade}"/>' + mark + holes + tread
    )


def _boot() -> str:
    laces = "".join(
        f'<path d="M{x} {y}l-34 -3" stroke="#e8d9b4" stroke-width="5" stroke-linecap="round"/>'
        for x, y in ((206, 118), (207, 139), (209, 160), (213, 181), (222, 201))
    )
    return (
        _shadow(322, 150)
        + '<path d="M104 92C102 84 108 78 116 78L192 74C204 74 208 82 208 92 208 140 206 176 226 204 246 226 290 222 316 238'
        ' 334 250 338 266 338 288L92 290C90 222 108 160 104 92Z" fill="#5e6b48"/>'
        '<path d="M92 290C91 262 94 236 97 210 124 226 140 250 142 290Z" fill="#4b5639"/>'
        '<path d="M338 288C338 266 334 250 316 238 304 231 290 228 276 225 262 246 264 268 272 289Z" fill="#4b5639"/>'
        '<path d="M103 88C102 82 108 78 116 78L192 74C204 74 208 82 208 92V104L105 108Z" fill="#3f482f"/>'
        '<path d="M92 62q10 -8 22 2v24h-14Z" fill="#c58a4a"/>'
        + laces
        + '<path d="M84 286H344C348 296 346 304 344 310H84C80 302 80 294 84 286Z" fill="#e8d9b4"/>'
        '<path d="M82 304H346V322H300L292 314H178L170 322H82Z" fill="#2e2a24"/>'
    )


def _loafer() -> str:
    return (
        _shadow(292, 160)
        + '<path d="M58 262C54 226 58 196 76 186 92 178 104 190 126 198 156 208 186 200 204 188 220 178 236 182 250 196'
        ' 272 218 304 218 328 228 348 236 354 250 354 266Z" fill="#c79a6b"/>'
        '<path d="M76 186C92 178 104 190 126 198 156 208 186 200 204 188 206 206 170 230 128 222 98 216 78 204 76 186Z"'
        ' fill="#8f6640"/>'
        '<path d="M204 188C220 178 236 182 250 196 266 212 288 216 308 221 296 236 262 236 238 224 220 214 206 204 204 188Z"'
        ' fill="#d8b086"/>'
        '<path d="M188 198C204 208 220 232 222 264H256C254 236 240 206 222 184 212 182 200 188 188 198Z" fill="#a97c4f"/>'
        '<path d="M200 214q18 -8 34 0l4 12q-18 -7 -34 0Z" fill="#8f6640"/>'
        '<path d="M54 260H356C360 270 356 280 344 280H136L128 292H64C52 284 52 272 54 260Z" fill="#5b4029"/>'
    )


def _tote() -> str:
    return (
        _shadow(330, 118)
        + '<path d="M146 152C146 56 254 56 254 152" fill="none" stroke="#7c8a99" stroke-width="13"/>'
        '<path d="M92 142H308L322 322C322 328 318 332 312 332H88C82 332 78 328 78 322Z" fill="#f1eadb"/>'
        '<path d="M308 142L322 322C322 328 318 332 312 332H262L276 142Z" fill="#e2d8c2"/>'
        '<path d="M82 270H318L322 322C322 328 318 332 312 332H88C82 332 78 328 78 322Z" fill="#5d7388"/>'
        '<path d="M314 270L322 322C322 328 318 332 312 332H262L268 270Z" fill="#4d6175"/>'
        '<path d="M132 148C132 40 268 40 268 148V196H254V150C254 62 146 62 146 150V196H132Z" fill="#5d7388"/>'
        '<path d="M92 142H308" stroke="#cfc3a8" stroke-width="5"/>'
    )


def _rucksack() -> str:
    return (
        _shadow(340, 104)
        + '<path d="M112 150C80 168 78 262 100 306" fill="none" stroke="#8a4a30" stroke-width="16" stroke-linecap="round"/>'
        '<path d="M288 150C320 168 322 262 300 306" fill="none" stroke="#8a4a30" stroke-width="16" stroke-linecap="round"/>'
        '<path d="M172 78C172 44 228 44 228 78" fill="none" stroke="#3b2f27" stroke-width="10"/>'
        '<rect x="106" y="106" width="188" height="234" rx="34" fill="#c8693f"/>'
        '<path d="M240 106H260C279 106 294 121 294 140V306C294 325 279 340 260 340H240Z" fill="#b3582f"/>'
        '<path d="M116 78H284C292 78 296 84 295 92L290 158H110L105 92C104 84 108 78 116 78Z" fill="#d97b4f"/>'
        '<path d="M106 96H294L292 116H108Z" fill="#b3582f"/>'
        '<rect x="128" y="222" width="144" height="96" rx="18" fill="#d97b4f"/>'
        '<path d="M128 246H272" stroke="#8a4a30" stroke-width="5"/>'
        '<path d="M192 104H208V196H192Z" fill="#3b2f27"/>'
        '<rect x="184" y="176" width="32" height="26" rx="6" fill="#f0d9b8"/>'
    )


def _crossbody() -> str:
    return (
        _shadow(318, 118)
        + '<path d="M92 190C80 40 320 40 308 190" fill="none" stroke="#6d3b2e" stroke-width="9"/>'
        '<path d="M78 184H322C330 264 276 318 200 318 124 318 70 264 78 184Z" fill="#94503d"/>'
        '<path d="M322 184C330 264 276 318 200 318 190 318 180 317 171 315 246 306 288 254 290 184Z" fill="#7f4233"/>'
        '<path d="M74 172H326C332 172 336 178 334 184 322 236 268 262 200 262 132 262 78 236 66 184 64 178 68 172 74 172Z"'
        ' fill="#a95f49"/>'
        '<path d="M82 190C96 232 142 250 200 250 258 250 304 232 318 190" fill="none" stroke="#d79b83" stroke-width="2.5"'
        ' stroke-dasharray="7 6"/>'
        '<circle cx="200" cy="256" r="13" fill="#e0b35c"/><circle cx="200" cy="256" r="6" fill="#94503d"/>'
        '<circle cx="91" cy="180" r="9" fill="#e0b35c"/><circle cx="309" cy="180" r="9" fill="#e0b35c"/>'
    )


def _holdall() -> str:
    return (
        _shadow(312, 158)
        + '<path d="M142 178C142 86 258 86 258 178" fill="none" stroke="#6b4a2c" stroke-width="14"/>'
        '<path d="M84 164H316C344 164 356 190 356 224V284C356 302 346 312 328 312H72C54 312 44 302 44 284V224'
        'C44 190 56 164 84 164Z" fill="#3f5a63"/>'
        '<path d="M316 164C344 164 356 190 356 224V284C356 302 346 312 328 312H300V164Z" fill="#344b53"/>'
        '<path d="M84 164H100V312H72C54 312 44 302 44 284V224C44 190 56 164 84 164Z" fill="#344b53"/>'
        '<path d="M100 178H300" stroke="#dfc38d" stroke-width="6"/>'
        '<path d="M128 178C128 70 272 70 272 178V312H254V180C254 98 146 98 146 180V312H128Z" fill="#8a6238"/>'
        '<rect x="180" y="210" width="40" height="52" rx="6" fill="#8a6238"/>'
        '<rect x="187" y="218" width="26" height="18" rx="3" fill="#f0e2c4"/>'
    )


def _lamp() -> str:
    return (
        _shadow(344, 92) + '<path d="M96 184L24 400H376L304 184Z" fill="#ffe2a0" opacity=".28"/>'
        '<ellipse cx="200" cy="192" rx="96" ry="16" fill="#fff1c9"/>'
        '<rect x="193" y="186" width="14" height="130" fill="#b98a56"/>'
        '<path d="M138 344C138 322 168 312 200 312 232 312 262 322 262 344Z" fill="#c99a64"/>'
        '<path d="M200 312C232 312 262 322 262 344H216C222 330 216 318 200 312Z" fill="#b0814d"/>'
        '<path d="M200 66C146 66 108 116 96 188 128 202 272 202 304 188 292 116 254 66 200 66Z" fill="#2f4a46"/>'
        '<path d="M200 66C254 66 292 116 304 188 290 194 268 197 244 199 250 150 238 96 200 66Z" fill="#263c39"/>'
        '<path d="M130 150C138 118 152 98 170 86" fill="none" stroke="#56756f" stroke-width="7" stroke-linecap="round"/>'
        '<circle cx="200" cy="60" r="9" fill="#b98a56"/>'
    )


def _vase() -> str:
    stems = (
        '<path d="M200 156C196 116 206 92 186 52M204 156C210 118 232 104 244 74M198 150C186 122 160 118 148 92"'
        ' fill="none" stroke="#6f7f57" stroke-width="5" stroke-linecap="round"/>'
    )
    leaves = "".join(
        f'<ellipse cx="{x}" cy="{y}" rx="9" ry="20" fill="{fill}" transform="rotate({turn} {x} {y})"/>'
        for x, y, turn, fill in (
            (180, 46, -18, "#879a68"), (202, 74, 38, "#6f7f57"), (250, 66, 40, "#879a68"),
            (222, 92, -30, "#6f7f57"), (140, 84, -42, "#879a68"), (172, 102, 30, "#6f7f57"),
        )
    )  # fmt: skip
    return (
        _shadow(342, 86)
        + stems
        + leaves
        + '<path d="M170 142H230C234 142 236 147 234 152 228 170 232 182 250 200 276 226 288 258 278 296 270 326 246 342'
        ' 200 342 154 342 130 326 122 296 112 258 124 226 150 200 168 182 172 170 166 152 164 147 166 142 170 142Z" fill="#dfe5e3"/>'
        '<path d="M230 142C234 142 236 147 234 152 228 170 232 182 250 200 276 226 288 258 278 296 270 326 246 342 206 342'
        ' 250 320 262 262 232 214 212 186 212 164 216 142Z" fill="#c5d0cd"/>'
        '<path d="M119 268C122 228 140 212 154 196 166 184 170 172 168 158L167 150C168 144 169 142 170 142H230'
        "C234 142 236 147 234 152 228 170 232 182 250 200 264 214 278 234 281 262 262 250 246 282 222 262"
        ' 198 244 182 284 160 264 146 252 132 276 119 268Z" fill="#5f8187"/>'
        '<ellipse cx="200" cy="145" rx="33" ry="6" fill="#3f5c61"/>'
    )


def _mug() -> str:
    return (
        _shadow(314, 100)
        + '<path d="M270 176C340 164 344 268 262 268" fill="none" stroke="#d9a441" stroke-width="22"/>'
        '<path d="M104 138H280L270 288C269 304 258 314 242 314H142C126 314 115 304 114 288Z" fill="#e8b955"/>'
        '<path d="M280 138L270 288C269 304 258 314 242 314H214C232 308 240 294 241 278L248 138Z" fill="#d9a441"/>'
        '<path d="M110 226H274L270 288C269 304 258 314 242 314H142C126 314 115 304 114 288Z" fill="#f5ecd8"/>'
        '<path d="M244 226H274L270 288C269 304 258 314 242 314H214C232 308 240 294 241 278Z" fill="#e6dbc2"/>'
        '<ellipse cx="192" cy="138" rx="88" ry="17" fill="#f1cd7d"/>'
        '<ellipse cx="192" cy="140" rx="77" ry="12" fill="#5a3a22"/>'
        '<path d="M166 104C156 88 178 78 168 58M212 104C202 88 224 78 214 58" fill="none" stroke="#fff" stroke-width="6"'
        ' stroke-linecap="round" opacity=".75"/>'
    )


def _stool() -> str:
    return (
        _shadow(350, 124) + '<path d="M188 160H212L208 322H192Z" fill="#a97c4b"/>'
        '<path d="M118 158H148L112 350H92Z" fill="#cfa36d"/>'
        '<path d="M252 158H282L308 350H288Z" fill="#b98c57"/>'
        '<path d="M114 262H286" stroke="#a97c4b" stroke-width="11"/>'
        '<path d="M74 140C74 120 130 108 200 108 270 108 326 120 326 140V150C326 172 270 184 200 184 130 184 74 172 74 150Z"'
        ' fill="#b98c57"/>'
        '<ellipse cx="200" cy="140" rx="126" ry="32" fill="#dbb37f"/>'
        '<path d="M106 138C130 122 170 118 214 120M128 150C164 140 220 136 284 142" fill="none" stroke="#c99c66"'
        ' stroke-width="4" stroke-linecap="round"/>'
    )


DRAWINGS = {
    "harbour": ("#dfe7ea", _low_shoe("#3c6478", "#2f5062", "#f3efe6", "#e2795a", runner=True)),
    "moss": ("#e6e6d8", _boot()),
    "chalk": ("#e9ddd6", _low_shoe("#fbf9f4", "#ece7dd", "#e0d6c3", "#7c9a86", runner=False)),
    "sand": ("#efe4d3", _loafer()),
    "market": ("#dde2e5", _tote()),
    "ferry": ("#f0e0d3", _rucksack()),
    "orbit": ("#eedfd8", _crossbody()),
    "weekend": ("#e3e5dd", _holdall()),
    "dusk": ("#e9dfcc", _lamp()),
    "tide": ("#e4e2da", _vase()),
    "morning": ("#dcd6cb", _mug()),
    "perch": ("#e2e6e0", _stool()),
}
