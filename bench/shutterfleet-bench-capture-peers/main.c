/* shutterfleet-bench-capture-peers decodes single pictures with libraries that
 * others wrote, for `shutterfleet bench capture`, which starts it:
 *
 *     peers                            names on a line each, then an empty line
 *     decode NAME SCALE CODEC PATH     "ok WALL_NS CPU_NS WIDTH HEIGHT LUMA"
 *     progressive QUALITY IN OUT       codes a JPEG anew, "ok"
 *
 * Each request is a line on the standard input and each answer a line on the
 * standard output, "error TEXT" when it fails. Times are of the decoding alone:
 * the file is in memory, decoders and their buffers are kept between requests.
 * LUMA is the 64-bit FNV-1a hash of the luma plane, so that equal pictures can
 * be told. Which peers there are was decided when this was built. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef WITH_TURBOJPEG
#include <turbojpeg.h>
#endif
#ifdef WITH_LIBAVCODEC
#include <libavcodec/avcodec.h>
#endif

enum { MAX_FILE = 64 << 20, PADDING = 64 };

struct file {
	char path[1024];
	unsigned char *data;
	size_t size;
};

struct result {
	int64_t wall, cpu;
	int width, height;
	uint64_t luma;
};

/* Used by the peers that there are: none may be. */
static inline int64_t now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void begin(struct result *r) {
	r->wall = now(CLOCK_MONOTONIC);
	r->cpu = now(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void end(struct result *r) {
	r->cpu = now(CLOCK_PROCESS_CPUTIME_ID) - r->cpu;
	r->wall = now(CLOCK_MONOTONIC) - r->wall;
}

static inline uint64_t fnv1a(const unsigned char *pix, int stride, int width, int height) {
	uint64_t h = 14695981039346656037u;
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++)
			h = (h ^ pix[(size_t)y * stride + x]) * 1099511628211u;
	return h;
}

/* load reads a file, unless it is the one that was read last. Decoders of
 * libavcodec read up to PADDING zeros beyond its end. */
static const char *load(struct file *f, const char *path) {
	if (f->data && strcmp(f->path, path) == 0)
		return NULL;
	free(f->data);
	f->data = NULL;
	if (strlen(path) >= sizeof f->path)
		return "the path is too long";
	FILE *in = fopen(path, "rb");
	if (!in)
		return "the file cannot be opened";
	unsigned char *data = malloc(MAX_FILE + PADDING);
	if (!data) {
		fclose(in);
		return "no memory";
	}
	f->size = fread(data, 1, MAX_FILE, in);
	fclose(in);
	f->data = realloc(data, f->size + PADDING);
	if (!f->data)
		f->data = data;
	memset(f->data + f->size, 0, PADDING);
	strcpy(f->path, path);
	return NULL;
}

#ifdef WITH_TURBOJPEG
static tjhandle turbo;
static unsigned char *gray;
static size_t gray_size;

/* turbojpeg decodes to gray, which leaves chroma unconverted and untransformed,
 * with the accurate integer transform that is its default. */
static const char *decode_turbojpeg(const struct file *f, int scale, struct result *r) {
	if (!turbo && !(turbo = tjInitDecompress()))
		return "libjpeg-turbo does not start";
	begin(r);
	int w, h, subsampling, space;
	if (tjDecompressHeader3(turbo, f->data, f->size, &w, &h, &subsampling, &space))
		return tjGetErrorStr2(turbo);
	tjscalingfactor factor = {1, scale};
	w = TJSCALED(w, factor), h = TJSCALED(h, factor);
	if ((size_t)w * h > gray_size) {
		free(gray);
		gray_size = (size_t)w * h;
		if (!(gray = malloc(gray_size)))
			return gray_size = 0, "no memory";
	}
	if (tjDecompress2(turbo, f->data, f->size, gray, w, w, h, TJPF_GRAY, 0))
		return tjGetErrorStr2(turbo);
	end(r);
	r->width = w, r->height = h, r->luma = fnv1a(gray, w, w, h);
	return NULL;
}

static const char *progressive(const struct file *f, int quality, const char *out) {
	tjhandle d = tjInitDecompress(), c = tjInitCompress();
	unsigned char *planes = NULL, *jpeg = NULL;
	unsigned long size = 0;
	int w, h, subsampling, space;
	const char *err = "the JPEG cannot be coded anew";
	if (d && c && tjDecompressHeader3(d, f->data, f->size, &w, &h, &subsampling, &space) == 0 &&
	    (planes = malloc(tjBufSizeYUV2(w, 4, h, subsampling))) &&
	    tjDecompressToYUV2(d, f->data, f->size, planes, w, 4, h, 0) == 0 &&
	    tjCompressFromYUV(c, planes, w, 4, h, subsampling, &jpeg, &size, quality, TJFLAG_PROGRESSIVE) == 0) {
		FILE *to = fopen(out, "wb");
		if (to && fwrite(jpeg, 1, size, to) == size)
			err = NULL;
		if (to && fclose(to))
			err = "the file cannot be written";
	}
	tjFree(jpeg);
	free(planes);
	if (d)
		tjDestroy(d);
	if (c)
		tjDestroy(c);
	return err;
}
#endif

#ifdef WITH_LIBAVCODEC
static AVCodecContext *contexts[3];
static const enum AVCodecID ids[3] = {AV_CODEC_ID_MJPEG, AV_CODEC_ID_H264, AV_CODEC_ID_HEVC};
static const char *const codecs[3] = {"jpeg", "h264", "h265"};

/* libavcodec decodes luma and chroma at full size with its defaults, but on one
 * thread. The decoder is opened once and flushed after each picture. */
static const char *decode_libavcodec(const struct file *f, const char *codec, struct result *r) {
	static AVFrame *frame;
	static AVPacket *packet;
	int k = 0;
	while (k < 3 && strcmp(codecs[k], codec) != 0)
		k++;
	if (k == 3)
		return "libavcodec is not asked for this codec";
	if (!frame && (!(frame = av_frame_alloc()) || !(packet = av_packet_alloc())))
		return "no memory";
	if (!contexts[k]) {
		const AVCodec *c = avcodec_find_decoder(ids[k]);
		if (!c || !(contexts[k] = avcodec_alloc_context3(c)))
			return "libavcodec has no such decoder";
		contexts[k]->thread_count = 1;
		if (avcodec_open2(contexts[k], c, NULL) < 0)
			return "the decoder does not open";
	}
	AVCodecContext *ctx = contexts[k];
	packet->data = f->data, packet->size = (int)f->size;
	begin(r);
	int err = avcodec_send_packet(ctx, packet);
	if (err >= 0)
		err = avcodec_send_packet(ctx, NULL); /* no reordering: the picture comes at once */
	if (err >= 0)
		err = avcodec_receive_frame(ctx, frame);
	end(r);
	if (err >= 0) {
		r->width = frame->width, r->height = frame->height;
		r->luma = fnv1a(frame->data[0], frame->linesize[0], frame->width, frame->height);
		av_frame_unref(frame);
	}
	avcodec_flush_buffers(ctx);
	return err < 0 ? "libavcodec does not decode it" : NULL;
}
#endif

static void answer(const char *err, const struct result *r) {
	if (err)
		printf("error %s\n", err);
	else
		printf("ok %lld %lld %d %d %016llx\n", (long long)r->wall, (long long)r->cpu, r->width, r->height, (unsigned long long)r->luma);
}

int main(void) {
	static char line[4096], name[64], codec[16], in[1024], out[1024];
	static struct file file;
	int n;
#ifdef WITH_LIBAVCODEC
	av_log_set_level(AV_LOG_QUIET);
#endif
	while (fgets(line, sizeof line, stdin)) {
		struct result r = {0};
		const char *err = "no such request";
		if (strcmp(line, "peers\n") == 0) {
#ifdef WITH_TURBOJPEG
			puts("libjpeg-turbo");
#endif
#ifdef WITH_LIBAVCODEC
			puts("libavcodec");
#endif
			puts("");
		} else if (sscanf(line, "decode %63s %d %15s %1023[^\n]", name, &n, codec, in) == 4) {
			err = load(&file, in);
			if (!err) {
				err = "no such peer";
#ifdef WITH_TURBOJPEG
				if (strcmp(name, "libjpeg-turbo") == 0)
					err = decode_turbojpeg(&file, n, &r);
#endif
#ifdef WITH_LIBAVCODEC
				if (strcmp(name, "libavcodec") == 0)
					err = decode_libavcodec(&file, codec, &r);
#endif
			}
			answer(err, &r);
		} else if (sscanf(line, "progressive %d %1023s %1023[^\n]", &n, in, out) == 3) {
#ifdef WITH_TURBOJPEG
			err = load(&file, in);
			if (!err)
				err = progressive(&file, n, out);
#endif
			answer(err, &r);
		} else {
			answer(err, &r);
		}
		fflush(stdout);
	}
	return 0;
}
