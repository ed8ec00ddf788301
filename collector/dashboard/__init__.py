"""Dashboard: the pages where people work. Rendered here, over query's one read path; scripts only add comfort.

One page is one module in `pages/` and one template of the same name in `templates/`. To add a page:

1.  `pages/NAME.py`: functions that take a `Visit` and give its answer, and `PAGES`, the table that says at which path,
    for whom (`see`, `act`), and under which title in the menu. Nothing else of HTTP, sign-in or safety is its matter:
    app.py has let nobody in who may not, and has checked the token of every form.
2.  `templates/NAME.html` extends `frame.html` and fills `title` and `main`. Everything is escaped; words stand in
    `{% trans %}` or `_()`, the Swedish ones in `locale/sv.po`, and a language more is one more file there.
3.  Its line in `pages/__init__.py`, and in `tests/journey/screens.py` for `make screenshots`.

    app.py         one request: who asks, may they, the page, whatever goes wrong
    page.py        Page and Visit: what a page is, and what it is given
    site.py        what all pages share
    people.py      who may sign in: records, roles, passwords
    sessions.py    who is signed in;  links.py: one-time links;  tries.py: how often a password may be guessed
    guard.py       headers of every answer, cookies, tokens of forms
    rendering.py   templates, static files;  languages.py: catalogues, numbers, times
    live.py        sizes as they move, one look for all who watch
    trend.py       what recorded sizes say: change, curve, when an audience will be large enough
"""
