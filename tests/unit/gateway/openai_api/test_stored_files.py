"""Files over HTTP: as they were sent, by pages, within their bounds."""

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.openai_api.stored_calls import upload


def test_files_are_listed_by_pages_and_by_purpose(tmp_path):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            made = [(await upload(client, str(n), "user_data" if n % 2 else "batch")).json()["id"] for n in range(5)]
            found, after = [], None
            while True:
                page = (
                    await client.get("/v1/files", params={"limit": 2, **({"after": after} if after else {})})
                ).json()
                found += [each["id"] for each in page["data"]]
                after = page["last_id"]
                if not page["has_more"]:
                    break
            assert found == made[::-1]
            ordered = (await client.get("/v1/files", params={"order": "asc", "purpose": "user_data"})).json()
            assert [each["id"] for each in ordered["data"]] == [made[1], made[3]]

    run(check())


def test_a_file_is_read_as_it_was_sent_and_gone_when_it_is_deleted(tmp_path):
    """Its name on disk is its id; what the client called it is a header's only."""

    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            content = bytes(range(256)) * 4000
            shown = (await upload(client, content, "user_data", "../../evil ü.bin")).json()
            assert (shown["bytes"], shown["filename"]) == (len(content), "evil ü.bin")
            answer = await client.get(f"/v1/files/{shown['id']}/content")
            assert answer.content == content
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert [path.name for path in (tmp_path / "files").iterdir()] == [shown["id"]]
            assert (await client.delete(f"/v1/files/{shown['id']}")).json()["deleted"] is True
            assert (await client.get(f"/v1/files/{shown['id']}")).status_code == 404
            assert not list((tmp_path / "files").iterdir())

    run(check())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_upload_that_is_refused_leaves_nothing(tmp_path, fields, param):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            answer = await upload(client_of("a"), **fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
            assert not list((tmp_path / "files").iterdir())

    run(check())


def test_files_are_bounded_each_and_all_of_a_tenant(tmp_path):
    """Another tenant's room is its own."""

    async def check():
        bounds = {"server": {"max_file_bytes": 2000}, "storage": {"max_tenant_bytes": 2500}}
        async with stored_app(tmp_path, **bounds) as (_, client_of):
            client = client_of("a")
            assert (await upload(client, "x" * 2001)).status_code == 413
            assert (await upload(client, "x" * 1500)).status_code == 200
            assert (await upload(client, "x" * 1500)).status_code == 413
            assert (await upload(client_of("b"), "x" * 1500)).status_code == 200
            assert len(list((tmp_path / "files").iterdir())) == 2

    run(check())


def test_a_tenant_keeps_a_number_of_files_and_no_more(tmp_path):
    async def check():
        async with stored_app(tmp_path, storage={"max_tenant_files": 2}) as (_, client_of):
            client = client_of("a")
            first, _ = (await upload(client)).json(), (await upload(client)).json()
            refusal = await upload(client)
            assert (refusal.status_code, refusal.json()["error"]["code"]) == (413, "storage_quota_exceeded")
            assert refusal.json()["error"]["message"] == "the tenant may keep 2 files and keeps 2; delete some first"
            assert (await upload(client_of("b"))).status_code == 200
            await client.delete(f"/v1/files/{first['id']}")
            assert (await upload(client)).status_code == 200

    run(check())
