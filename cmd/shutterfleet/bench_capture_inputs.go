package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// captureInput is one coded picture of the bench.
type captureInput struct {
	name  string
	codec fleet.Codec
	file  string
	data  []byte
}

// inputKind says how an input is made: a drawn scene with a sensor's noise,
// coded to about so many bytes. Only its progressive twin needs a peer.
type inputKind struct {
	name          string
	codec         fleet.Codec
	scene         camtest.Scene
	width, height int
	noise         float64 // standard deviation, in levels of 255
	bytes         int     // the coder's quality is searched for
	progressive   bool
}

// inputKinds are the frames that cameras send: a typical and a noisy one, at
// night and by day, and the largest.
func inputKinds() []inputKind {
	return []inputKind{
		{"jpeg-1080p", fleet.JPEG, camtest.StreetDay, 1920, 1080, 2, 100_000, false},
		{"jpeg-1080p-noisy", fleet.JPEG, camtest.StreetNight, 1920, 1080, 12, 500_000, false},
		{"jpeg-1080p-progressive", fleet.JPEG, camtest.StreetDay, 1920, 1080, 2, 100_000, true},
		{"jpeg-2160p", fleet.JPEG, camtest.Parking, 3840, 2160, 2, 600_000, false},
		{"h264-1080p", fleet.H264, camtest.StreetDay, 1920, 1080, 2, 50_000, false},
		{"h264-1080p-noisy", fleet.H264, camtest.StreetNight, 1920, 1080, 12, 500_000, false},
		{"h264-2160p", fleet.H264, camtest.Parking, 3840, 2160, 2, 200_000, false},
		{"h265-1080p", fleet.H265, camtest.StreetDay, 1920, 1080, 2, 50_000, false},
	}
}

// make writes the input into dir.
func (k inputKind) make(ctx context.Context, dir string, peers *peerProcess) (in captureInput, err error) {
	in = captureInput{name: k.name, codec: k.codec, file: filepath.Join(dir, k.name)}
	img, err := camtest.Draw(k.scene, 1, k.width, k.height, time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
	if err != nil {
		return in, err
	}
	addNoise(img, k.noise)
	quality := 0
	if k.codec == fleet.JPEG {
		in.data, quality, err = nearestSize(1, 100, k.bytes, func(q int) ([]byte, error) {
			var b bytes.Buffer
			err := jpeg.Encode(&b, img, &jpeg.Options{Quality: q})
			return b.Bytes(), err
		})
	} else {
		// Quantisers fall as sizes rise.
		in.data, _, err = nearestSize(-51, -1, k.bytes, func(q int) ([]byte, error) { return encodeVideo(ctx, k.codec, img, -q) })
	}
	if err != nil {
		return in, err
	}
	if err := os.WriteFile(in.file, in.data, 0o600); err != nil { //nolint:gosec // dir is the bench's own
		return in, err
	}
	if k.progressive {
		if peers == nil {
			return in, errors.New("progressive JPEG is coded by the peers' program")
		}
		if err := peers.progressive(quality, in.file, in.file+".progressive"); err != nil {
			return in, err
		}
		in.file += ".progressive"
		in.data, err = os.ReadFile(in.file)
	}
	return in, err
}

// nearestSize searches the setting whose output comes closest to size bytes,
// for a coder whose output grows with its setting.
func nearestSize(low, high, size int, code func(setting int) ([]byte, error)) (best []byte, setting int, err error) {
	for low <= high {
		middle := low + (high-low)/2
		b, err := code(middle)
		if err != nil {
			return nil, 0, err
		}
		if best == nil || off(b, size) < off(best, size) {
			best, setting = b, middle
		}
		if len(b) < size {
			low = middle + 1
		} else {
			high = middle - 1
		}
	}
	return best, setting, nil
}

// off is how far a coded picture is from the size.
func off(b []byte, size int) int { return max(len(b)-size, size-len(b)) }

// addNoise adds the same normal noise to all colors of a pixel, as a sensor in
// poor light does; the same seed, the same picture.
func addNoise(img *image.RGBA, deviation float64) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+3 < len(img.Pix); i += 4 {
		n := r.NormFloat64() * deviation
		for k := range 3 {
			img.Pix[i+k] = byte(max(0, min(255, float64(img.Pix[i+k])+n)))
		}
	}
}

// encodeVideo codes one key frame by FFmpeg at a constant quantiser.
func encodeVideo(ctx context.Context, c fleet.Codec, img *image.RGBA, quantiser int) ([]byte, error) {
	coder := []string{"-c:v", "libx264", "-profile:v", "high", "-f", "h264"}
	if c == fleet.H265 {
		coder = []string{"-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc"}
	}
	args := append([]string{
		"-v", "error", "-f", "rawvideo", "-pix_fmt", "rgba", "-s", fmt.Sprintf("%dx%d", img.Rect.Dx(), img.Rect.Dy()), "-i", "-",
		"-frames:v", "1", "-pix_fmt", "yuv420p", "-preset", "fast", "-qp", fmt.Sprint(quantiser),
	}, coder...)
	//nolint:gosec // the arguments are this function's own
	cmd := exec.CommandContext(ctx, "ffmpeg", append(args, "-")...)
	cmd.Stdin = bytes.NewReader(img.Pix)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg codes no %s: %w: %s", c, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
