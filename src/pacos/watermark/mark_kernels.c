/* What marking asks of a permutation, of logits and of the keyed function, without arrays for every step in between.
   Plain loops over words of 32 bits, which compilers make vectors of; no state but the caller's arrays. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORDS 624 /* MT19937's state, and how many numbers it gives before it is made anew */
#define FAR 397
/* From this divisor on, a quotient by the reciprocal in fp32 is wrong by less than one: its three roundings are 2^-24 of
   at most 2^32 / divisor each. */
#define LEAST_BY_RECIPROCAL 1024

static void seed_words(uint32_t *words, uint32_t seed) {
    words[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++) words[i] = 1812433253u * (words[i - 1] ^ (words[i - 1] >> 30)) + i;
}

static inline uint32_t mixed(uint32_t word, uint32_t next, uint32_t far) {
    return far ^ (((word & 0x80000000u) | (next & 0x7fffffffu)) >> 1) ^ (-(next & 1) & 0x9908b0dfu);
}

/* In place, so that each loop reads what it has not yet written, or wrote long before. */
static void renew_words(uint32_t *words) {
    for (int i = 0; i < WORDS - FAR; i++) words[i] = mixed(words[i], words[i + 1], words[i + FAR]);
    for (int i = WORDS - FAR; i < WORDS - 1; i++) words[i] = mixed(words[i], words[i + 1], words[i + FAR - WORDS]);
    words[WORDS - 1] = mixed(words[WORDS - 1], words[0], words[FAR - 1]);
}

static inline uint32_t tempered(uint32_t word) {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
}

/* The next places' targets, at most WORDS of them from place `first` on: place + number mod (n - place). */
static void draw_targets(uint32_t *words, const float *reciprocals, uint32_t n, uint32_t first, uint32_t last,
                         uint32_t *targets) {
    renew_words(words);
    uint32_t fast = n < LEAST_BY_RECIPROCAL ? 0 : n - LEAST_BY_RECIPROCAL + 1;
    fast = fast < first ? first : fast < last ? fast : last;
    for (uint32_t place = first; place < fast; place++) {
        uint32_t number = tempered(words[place - first]), divisor = n - place;
        uint32_t quotient = (uint32_t)(int32_t)((float)number * reciprocals[place]);
        uint32_t rest = number - quotient * divisor;
        /* One too many left a rest below 0, which is a huge word; one too few left a divisor too much. */
        rest = rest < rest + divisor ? rest : rest + divisor;
        rest = rest < rest - divisor ? rest : rest - divisor;
        targets[place] = place + rest;
    }
    for (uint32_t place = fast; place < last; place++)
        targets[place] = place + tempered(words[place - first]) % (n - place);
}

static int has(const uint32_t *targets, uint32_t first, uint32_t last, uint32_t wanted) {
    uint32_t found = 0;
    for (uint32_t place = first; place < last; place++) found |= targets[place] == wanted;
    return found != 0;
}

/* Follows one id through the swaps of places `first` to `last`: whether it came to stay; else `*place` is where it is. */
static int stays(const uint32_t *targets, uint32_t first, uint32_t last, uint32_t *place) {
    for (;;) {
        if (has(targets, first, *place < last ? *place : last, *place)) return 1;
        if (*place >= last) return 0;
        /* The id's own turn: it is swapped away to a later place, or stays. */
        if (targets[*place] == *place) return 1;
        first = *place + 1;
        *place = targets[*place];
    }
}

/* Whether the ids places[starts[s]] to places[starts[s + 1] - 1] are among the first `count` of the permutation of n by
   seeds[s]; `places` are written over. targets, reciprocals [count]. */
void are_among_first(const uint32_t *seeds, const int64_t *starts, int64_t num_seeds, uint32_t *places,
                     const float *reciprocals, uint32_t n, uint32_t count, uint32_t *targets, uint8_t *among) {
    for (int64_t s = 0; s < num_seeds; s++) {
        uint32_t words[WORDS];
        seed_words(words, seeds[s]);
        int64_t open = starts[s + 1] - starts[s];
        memset(among + starts[s], 0, open);
        for (uint32_t first = 0; first < count && open; first += WORDS) {
            uint32_t last = count - first < WORDS ? count : first + WORDS;
            draw_targets(words, reciprocals, n, first, last, targets);
            for (int64_t c = starts[s]; c < starts[s + 1]; c++)
                if (!among[c] && stays(targets, first, last, places + c)) among[c] = 1, open--;
        }
    }
}

/* Which of n ids are among the first `count` of each seed's permutation, is_first [num_seeds, n]. The swaps are undone,
   the last one first: what then lies in the first places came from where undoing leaves it. */
void first_places(const uint32_t *seeds, int64_t num_seeds, const float *reciprocals, uint32_t n, uint32_t count,
                  uint32_t *targets, uint8_t *is_first) {
    for (int64_t s = 0; s < num_seeds; s++, is_first += n) {
        uint32_t words[WORDS];
        seed_words(words, seeds[s]);
        for (uint32_t first = 0; first < count; first += WORDS)
            draw_targets(words, reciprocals, n, first, count - first < WORDS ? count : first + WORDS, targets);
        memset(is_first, 0, n);
        for (uint32_t place = count; place-- > 0;) {
            is_first[place] = is_first[targets[place]];
            is_first[targets[place]] = 1;
        }
    }
}

/* Whether each token is among the `most` likeliest of its row, where of equal ones the first ids come before; values are
   rows of `stride` numbers, of which `width` count. Tokens of one row that stand beside each other share a look at it;
   `before` [num_tokens] is written over. */
void are_likeliest(const float *values, int64_t stride, int64_t width, const int64_t *rows, const int64_t *tokens,
                   int64_t num_tokens, int64_t most, int64_t *before, uint8_t *found) {
    enum { PIECE = 4096 };
    for (int64_t first = 0, last; first < num_tokens; first = last) {
        const float *row = values + rows[first] * stride;
        for (last = first; last < num_tokens && rows[last] == rows[first]; last++)
            before[last] = tokens[last] < width ? 0 : most;
        for (int64_t start = 0, open = 1; start < width && open; start += PIECE) {
            int64_t end = start + PIECE < width ? start + PIECE : width;
            open = 0;
            for (int64_t i = first; i < last; i++) {
                if (before[i] >= most) continue;
                float value = row[tokens[i]];
                int64_t own = tokens[i] < start ? start : tokens[i] < end ? tokens[i] : end;
                int32_t more = 0;
                for (int64_t at = start; at < own; at++) more += row[at] >= value;
                for (int64_t at = own; at < end; at++) more += row[at] > value;
                before[i] += more;
                open |= before[i] < most;
            }
        }
        for (int64_t i = first; i < last; i++) found[i] = before[i] < most;
    }
}

#define LANES 16
typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

static inline lanes turned(lanes word, int bits) { return word << bits | word >> (32 - bits); }

/* Threefry-4x32-20 of the counters (blocks[i], previous[i], 0, 0): words [count, 4]. */
void threefry_words(const uint32_t *blocks, const uint32_t *previous, int64_t count, const uint32_t *key,
                    uint32_t *words) {
    static const int turns[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    uint32_t keys[5] = {key[0], key[1], key[2], key[3], key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1bd11bdau};
    for (int64_t i = 0; i < count; i += LANES) {
        size_t bytes = 4 * (size_t)(count - i < LANES ? count - i : LANES);
        lanes x[4] = {};
        memcpy(&x[0], blocks + i, bytes);
        memcpy(&x[1], previous + i, bytes);
#pragma GCC unroll 4
        for (int place = 0; place < 4; place++) x[place] += keys[place];
        /* Unrolled, so that places and turns are constants, and the four stay in registers. */
#pragma GCC unroll 20
        for (int round = 0; round < 20; round++) {
            lanes *one = &x[round % 2 ? 3 : 1], *other = &x[round % 2 ? 1 : 3];
            x[0] += *one, *one = turned(*one, turns[round % 8][0]) ^ x[0];
            x[2] += *other, *other = turned(*other, turns[round % 8][1]) ^ x[2];
            if (round % 4 == 3) {
                int next = round / 4 + 1;
#pragma GCC unroll 4
                for (int place = 0; place < 4; place++) x[place] += keys[(next + place) % 5];
                x[3] += (uint32_t)next;
            }
        }
        for (int64_t lane = 0; lane < LANES && i + lane < count; lane++)
            for (int place = 0; place < 4; place++) words[4 * (i + lane) + place] = x[place][lane];
    }
}
