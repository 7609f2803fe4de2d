"""``/value`` is answered by ``process value``, over WSGI and over ASGI."""

import mill


def wsgi(environ, start_response):
    body = mill.answer(environ["PATH_INFO"].lstrip("/"), environ.get("HTTP_X_REQUEST_ID"))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    number = dict(scope["headers"]).get(b"x-request-id")
    body = mill.answer(scope["path"].lstrip("/"), number and number.decode())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
