"""The OpenAPI document, as a validator that is not ours sees it."""

import unittest

from lib.server import Server
from openapi_spec_validator import OpenAPIV31SpecValidator


class Document(unittest.TestCase):
    def check(self, **env):
        with Server(env=env) as server:
            document = server.start().get("/openapi.json").json()
        errors = [f"{list(e.path)}: {e.message}"
                  for e in OpenAPIV31SpecValidator(document).iter_errors()]
        self.assertEqual(errors, [])
        return document

    def test_is_valid(self):
        document = self.check()
        del document["info"]["title"]  # and the validator would notice
        self.assertFalse(OpenAPIV31SpecValidator(document).is_valid())

    def test_is_valid_with_a_login_and_without_events(self):
        self.check(HYPRXA_INTERACTIVE_AUTH="true")
        self.check(FEATURES_EVENTS="false")


if __name__ == "__main__":
    unittest.main(verbosity=2)
