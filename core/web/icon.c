/* Draw the icon, at build time: icon FILE.png
 *
 * A pulse on a rounded square, 64 by 64, as PNG with a palette: 16 colours from ground to line, 16 of
 * the ground from clear to opaque.  Drawn by distances, so that edges are smooth. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 64, SHADES = 16, ROW = SIZE + 1, RAW = ROW * SIZE };
enum { STORED_MAX = RAW + 16 };

static const double radius = 14, half_width = 2.8;
static const unsigned char ground[3] = {0x0b, 0x5c, 0x73}, line[3] = {0xff, 0xff, 0xff};
static const double pulse[][2] = {{6, 36},  {19, 36}, {26, 15}, {36, 50},
                                  {43, 29}, {47, 36}, {58, 36}};

static double clamp(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double distance_to_segment(double x, double y, const double a[2], const double b[2])
{
    double dx = b[0] - a[0], dy = b[1] - a[1];
    double t = clamp(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy));
    return hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}

/* How much of the pixel the square covers, 0 to 1; and the pulse. */
static double cover_ground(double x, double y)
{
    double dx = fabs(x - SIZE / 2.0) - (SIZE / 2.0 - radius);
    double dy = fabs(y - SIZE / 2.0) - (SIZE / 2.0 - radius);
    double outside = hypot(fmax(dx, 0), fmax(dy, 0)) - radius;
    return clamp(0.5 - outside);
}

static double cover_line(double x, double y)
{
    double nearest = SIZE;
    for (size_t i = 0; i + 1 < sizeof pulse / sizeof *pulse; i++)
        nearest = fmin(nearest, distance_to_segment(x, y, pulse[i], pulse[i + 1]));
    return clamp(half_width + 0.5 - nearest);
}

/* --- PNG --- */

static uint32_t crc(uint32_t sum, const unsigned char *bytes, size_t n)
{
    sum = ~sum;
    for (size_t i = 0; i < n; i++) {
        sum ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum & 1 ? (sum >> 1) ^ 0xEDB88320u : sum >> 1;
    }
    return ~sum;
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void chunk(FILE *f, const char *type, const unsigned char *bytes, size_t n)
{
    unsigned char head[8], tail[4];
    put_u32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    put_u32(tail, crc(crc(0, head + 4, 4), bytes, n));
    fwrite(head, 1, 8, f);
    fwrite(bytes, 1, n, f);
    fwrite(tail, 1, 4, f);
}

/* zlib's format with one stored block: 4 KB are not worth a compressor. */
static size_t store(const unsigned char *raw, size_t n, unsigned char *out)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    const unsigned char head[] = {0x78,
                                  0x01,
                                  0x01,
                                  (unsigned char)n,
                                  (unsigned char)(n >> 8),
                                  (unsigned char)~n,
                                  (unsigned char)(~n >> 8)};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, raw, n);
    put_u32(out + sizeof head + n, b << 16 | a);
    return sizeof head + n + 4;
}

static void write_palette(FILE *f)
{
    unsigned char colours[2 * SHADES][3], alphas[2 * SHADES];
    for (int i = 0; i < SHADES; i++) {
        for (int c = 0; c < 3; c++) {
            double mixed = ground[c] + (line[c] - ground[c]) * i / (SHADES - 1.0);
            colours[i][c] = (unsigned char)lround(mixed);
            colours[SHADES + i][c] = ground[c];
        }
        alphas[i] = 255;
        alphas[SHADES + i] = (unsigned char)lround(255.0 * i / (SHADES - 1.0));
    }
    chunk(f, "PLTE", colours[0], sizeof colours);
    chunk(f, "tRNS", alphas, sizeof alphas);
}

int main(int argc, char **argv)
{
    static unsigned char raw[RAW], stored[STORED_MAX];
    FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (!f) {
        fprintf(stderr, "Usage: icon FILE.png\n");
        return EXIT_FAILURE;
    }
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) { /* each row begins with its filter, 0: none */
            double on_ground = cover_ground(x + 0.5, y + 0.5),
                   on_line = cover_line(x + 0.5, y + 0.5);
            double shade =
                on_ground < 1 ? SHADES + on_ground * (SHADES - 1) : on_line * (SHADES - 1);
            raw[y * ROW + 1 + x] = (unsigned char)lround(shade);
        }
    unsigned char head[13] = {0, 0, 0, SIZE, 0, 0, 0, SIZE, 8 /* bits */, 3 /* palette */};
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    chunk(f, "IHDR", head, sizeof head);
    write_palette(f);
    chunk(f, "IDAT", stored, store(raw, sizeof raw, stored));
    chunk(f, "IEND", head, 0);
    return fclose(f) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
