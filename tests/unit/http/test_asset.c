#include "http/asset.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/hyprxa-assets-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(asset, .timeout = 60, .init = make_folder, .fini = remove_folder);

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

/* A file of that many bytes that takes no room. */
static void make_sparse(const char *name, off_t size)
{
    char path[128];
    write_file(name, "");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(truncate(path, size), 0);
}

static struct asset_store *open_store(void)
{
    struct asset_store *store = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(asset_store_open(folder, &store, &err), 0, "%s", err.message);
    return store;
}

Test(asset, a_store_holds_files_of_known_types_with_their_compressed_variants)
{
    write_file("a.js", "let a;");
    write_file("a.js.gz", "zipped");
    write_file("page.html", "<p>");
    write_file("notes.md", "no type");
    write_file(".hidden.js", "no name");
    write_file("alone.gz", "no original");
    struct asset_store *store = open_store();
    const struct http_asset *a = asset_store_get(store, "a.js");
    cr_assert_not_null(a);
    cr_expect_str_eq(a->content_type, "text/javascript; charset=utf-8");
    cr_expect(a->len == 6 && memcmp(a->body, "let a;", 6) == 0);
    cr_expect(a->gzip_len == 6 && memcmp(a->gzip, "zipped", 6) == 0);
    cr_expect(a->etag[0] == '"' && strlen(a->etag) == 34);
    cr_expect_gt(a->modified_s, 0);
    cr_expect_null(a->headers);
    const struct http_asset *page = asset_store_get(store, "page.html");
    cr_assert_not_null(page);
    cr_expect_null(page->gzip);
    cr_expect_str_eq(page->headers, http_page_headers);
    static const char *const absent[] = {"notes.md", ".hidden.js", "alone.gz", "a.js.gz",
                                         "../a.js",  "./a.js",     ""};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_expect_null(asset_store_get(store, absent[i]), "%s", absent[i]);
    asset_store_close(store);
}

Test(asset, a_folder_that_is_not_there_makes_an_empty_store)
{
    struct asset_store *store = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(asset_store_open("/nowhere/at/all", &store, &err), 0);
    cr_expect_null(asset_store_get(store, "docs.html"));
    asset_store_close(store);
    asset_store_close(NULL);
}

Test(asset, a_store_takes_64_files_and_no_more)
{
    char name[16];
    struct asset_store *store = NULL;
    struct error err = ERROR_INIT;
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "%d.txt", i);
        write_file(name, name);
    }
    asset_store_close(open_store());
    write_file("64.txt", "one too many");
    cr_expect_eq(asset_store_open(folder, &store, &err), ERR_LIMIT);
}

Test(asset, a_store_takes_32_MiB_and_no_more)
{
    struct asset_store *store = NULL;
    struct error err = ERROR_INIT;
    make_sparse("a.txt", 16 << 20);
    make_sparse("b.txt", 16 << 20);
    asset_store_close(open_store());
    make_sparse("b.txt", (16 << 20) + 1);
    cr_expect_eq(asset_store_open(folder, &store, &err), ERR_LIMIT, "%s", err.message);
}

Test(asset, its_tag_follows_from_its_bytes)
{
    struct http_asset a = {.body = "same", .len = 4}, b = {.body = "same", .len = 4},
                      c = {.body = "some", .len = 4};
    struct error err = ERROR_INIT;
    cr_assert(http_asset_seal(&a, &err) == 0 && http_asset_seal(&b, &err) == 0 &&
              http_asset_seal(&c, &err) == 0);
    cr_expect_str_eq(a.etag, b.etag);
    cr_expect_str_neq(a.etag, c.etag);
}
