"""The part of Flask-Anam that knows nothing of Flask: settings, personas, client, tokens.

Modules here import the standard library, marshmallow, requests, cachelib, itsdangerous and
`flask_anam.errors`; never flask, werkzeug or click.
"""
