"""/token, the debug user and the switches, as contract sections 1.5, 9 and 10 have them.

`[D n]` names the row of contract section 14 that a test decides."""

import base64
import json
import subprocess
import unittest
from urllib.parse import urlencode

from lib.server import PROGRAM, Server, serve

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SOURCE = "sources: { machine: { plugin: host, scopes: [PLANT] } }"


def multipart(fields, boundary="----WebKitFormBoundary7MA4YWxk"):
    parts = [f"--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
             for name, value in fields]
    return ("".join(parts) + f"--{boundary}--\r\n").encode(), {
        "Content-Type": f"multipart/form-data; boundary={boundary}"}


def parts_of(token):
    """Header and claims of a token, unverified."""
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in token.split(".")[:2]]


class Token(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls)

    def login(self, fields, headers=None):
        return self.server.request("POST", "/token", urlencode(fields).encode(), headers or FORM)

    def errors(self, reply):
        self.assertEqual(reply.status, 422, reply)
        return reply.json()["detail"]

    def test_any_name_and_password_get_a_token_that_holds_only_the_name(self):
        reply = self.login({"username": "ada", "password": "pw"})
        self.assertEqual(reply.status, 200, reply)
        body = reply.json()
        self.assertEqual(list(body), ["access_token", "token_type"])
        self.assertEqual(body["token_type"], "bearer")
        self.assertEqual(parts_of(body["access_token"]),
                         [{"alg": "HS256", "typ": "JWT"}, {"sub": "ada"}])
        self.assertEqual(reply.headers["cache-control"], "no-store")

    def test_a_multipart_form_says_the_same(self):
        body, headers = multipart([("grant_type", "password"), ("username", "Zoë \"Z\""),
                                   ("password", "p w"), ("scope", "a b"), ("client_id", "x"),
                                   ("client_secret", "y"), ("more", "ignored")])
        reply = self.server.request("POST", "/token", body, headers)
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(parts_of(reply.json()["access_token"])[1], {"sub": "Zoë \"Z\""})

    def test_every_field_of_the_grant_is_accepted(self):
        reply = self.login({"username": "ada", "password": "pw", "grant_type": "password",
                            "scope": "READ WRITE", "client_id": "x", "client_secret": "y"})
        self.assertEqual(reply.status, 200, reply)

    def test_what_is_missing_is_named(self):
        missing = [{"loc": ["body", name], "msg": "field required", "type": "value_error.missing"}
                   for name in ("username", "password")]
        self.assertEqual(self.errors(self.login({})), missing)
        self.assertEqual(self.errors(self.login({"username": "", "password": ""})), missing)
        self.assertEqual(self.errors(self.login({"username": "ada"})), missing[1:])
        self.assertEqual(self.errors(self.server.post("/token", {"username": "ada"})), missing)
        body, headers = multipart([("password", "pw")])
        self.assertEqual(self.errors(self.server.request("POST", "/token", body, headers)),
                         missing[:1])

    def test_another_grant_is_refused(self):
        self.assertEqual(
            self.errors(self.login({"grant_type": "code", "username": "a", "password": "b"})),
            [{"loc": ["body", "grant_type"], "msg": 'string does not match regex "password"',
              "type": "value_error.str.regex", "ctx": {"pattern": "password"}}])
        self.assertEqual([e["loc"][1] for e in self.errors(self.login({"grant_type": "code"}))],
                         ["grant_type", "username", "password"])

    def test_forms_that_cannot_be_read_are_refused(self):
        broken = {"detail": "There was an error parsing the body"}
        reply = self.server.request("POST", "/token", b"username=%zz&password=x", FORM)
        self.assertEqual((reply.status, reply.json()), (400, broken))
        body, headers = multipart([("username", "ada"), ("password", "pw")])
        reply = self.server.request("POST", "/token", body[:-4], headers)
        self.assertEqual((reply.status, reply.json()), (400, broken))

    def test_at_most_256_fields(self):
        login = [("username", "ada"), ("password", "pw")]
        for more, status in ((254, 200), (255, 400)):
            fields = login + [(f"f{i}", "x") for i in range(more)]
            self.assertEqual(self.login(fields).status, status)
            body, headers = multipart(fields)
            self.assertEqual(self.server.request("POST", "/token", body, headers).status, status)

    def test_at_most_64_kib(self):
        frame = len("username=ada&password=")
        for size, status in ((65536, 200), (65537, 413)):
            reply = self.login({"username": "ada", "password": "x" * (size - frame)})
            self.assertEqual(reply.status, status, reply)

    def test_a_name_too_long_for_a_token_is_refused(self):
        error = self.errors(self.login({"username": "x" * 8192, "password": "pw"}))[0]
        self.assertEqual(error["loc"], ["body", "username"])

    def test_it_is_for_posts_only(self):
        reply = self.server.get("/token")
        self.assertEqual((reply.status, reply.headers["allow"]), (405, "POST"))


class Settings(unittest.TestCase):
    def test_the_token_path_and_the_algorithm_are_settings(self):
        """[D 32]"""
        server = serve(self, {"HYPRXA_TOKEN_PATH": "/auth/login", "HYPRXA_HASH_ALGORITHM": "HS512"})
        self.assertEqual(server.post("/token").status, 404)
        reply = server.request("POST", "/auth/login", b"username=a&password=b", FORM)
        self.assertEqual(parts_of(reply.json()["access_token"])[0]["alg"], "HS512")

    def test_a_token_path_that_cannot_be_is_told_at_start(self):
        for path, why in (("token", "is not a path"), ("/a b", "is not a path"),
                          ("/token/", "is not a path"), ("/x/{y}", "is not a path"),
                          ("/users/whoami/x?", "is not a path"), ("/topics/save", "another route's")):
            with Server(env={"HYPRXA_TOKEN_PATH": path}) as server:
                done = subprocess.run([PROGRAM, "--conf-dir", server.conf_dir, "--data-dir",
                                       server.data_dir, "--listen", "127.0.0.1:0"], env=server.env,
                                      capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 78, done.stderr)
                self.assertIn(why, done.stderr)

    def test_the_debug_user_is_the_contracts_unless_the_settings_say_otherwise(self):
        server = serve(self, settings="""
auth:
  debug:
    user: {username: ada, first_name: Ada, last_name: "", email: ada@example.com, upi: 7,
           company: "", country: UK}
""", env={"AUTH_DEBUG_USER_COUNTRY": "FR"})
        user = server.get("/users/whoami").json()
        self.assertEqual(set(user.pop("scopes")), {"READ", "WRITE", "ADMIN"})
        self.assertEqual(user, {"username": "ada", "first_name": "Ada", "last_name": None,
                                "email": "ada@example.com", "upi": 7, "company": None,
                                "country": "FR"})

    def test_scopes_of_the_debug_user_replace_all_others(self):
        server = serve(self, {"AUTH_DEBUG_USER_SCOPES": '["READ"]'}, {"machine.yaml": SOURCE})
        self.assertEqual(server.get("/users/whoami").json()["scopes"], ["READ"])
        forbidden = {"detail": "User does not have the required scopes to access this resource."}
        self.assertEqual(server.get("/topics/search").status, 200)
        for reply in (server.post("/topics/save", {"topic": "t", "jschema": {}}),
                      server.get("/admin/info")):
            self.assertEqual((reply.status, reply.json()), (403, forbidden))

    def test_a_source_asks_for_its_own_scopes(self):
        """[D 18]"""
        server = serve(self, {"AUTH_DEBUG_USER_SCOPES": '["READ", "WRITE"]'},
                       {"machine.yaml": SOURCE})
        server.save_unitop("u", {"cpu": {"source": "machine", "metric": "cpu.user"}})
        for path in ("stream", "recorded", "samples?dataItem=cpu"):
            self.assertEqual(server.get(f"/timeseries/u/{path}").status, 403, path)

    def test_no_scopes_at_all_may_be_said(self):
        server = serve(self, settings="auth: {debug: {user: {scopes: []}}}")
        self.assertEqual(server.get("/users/whoami").json()["scopes"], [])
        self.assertEqual(server.get("/topics/search").status, 403)

    def test_where_debug_requires_a_token_others_are_nobody(self):
        server = serve(self, {"AUTH_DEBUG_REQUIRE_TOKEN": "true"})
        nobody = {"detail": "Not Authenticated."}
        for path in ("/users/whoami", "/topics/search", "/admin/info"):
            reply = server.get(path)
            self.assertEqual((reply.status, reply.json()), (401, nobody))
            self.assertNotIn("www-authenticate", reply.headers)
        self.assertEqual(server.get("/users/whoami", {"Authorization": "Bearer x.y.z"}).status, 401)
        reply = server.request("POST", "/token", b"username=ada&password=b", FORM)
        bearer = {"Authorization": "Bearer " + reply.json()["access_token"]}
        self.assertEqual(server.get("/users/whoami", bearer).json()["username"], "admin")
        self.assertEqual(server.get("/users/whoami", {"Authorization": bearer["Authorization"] + "x"})
                         .status, 401)


if __name__ == "__main__":
    unittest.main()
