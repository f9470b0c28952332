package labelled

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os/exec"
	"strconv"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// coder is a camera's encoder. What it returns is void with the next picture.
type coder interface {
	code(img *image.Gray) ([]byte, error)
	io.Closer
}

// What cameras code with, and what of a picture that is coded anew.
const (
	jpegQuality, otherQuality     = 75, 70
	h264Quantiser, otherQuantiser = 26, 28
)

// newCoder returns the one of a codec; the other one for a picture that is coded
// anew. What it starts ends with Close, or with ctx.
func newCoder(ctx context.Context, c fleet.Codec, other bool) (coder, error) {
	switch {
	case c == fleet.H264 && other:
		return newKeyFrames(ctx, otherQuantiser)
	case c == fleet.H264:
		return newKeyFrames(ctx, h264Quantiser)
	case other:
		return &jpegs{quality: otherQuality}, nil
	}
	return &jpegs{quality: jpegQuality}, nil
}

type jpegs struct {
	quality int
	buf     bytes.Buffer
}

func (j *jpegs) code(img *image.Gray) ([]byte, error) {
	j.buf.Reset()
	err := jpeg.Encode(&j.buf, img, &jpeg.Options{Quality: j.quality})
	return j.buf.Bytes(), err
}

func (*jpegs) Close() error { return nil }

// keyFrames codes pictures as H.264 key frames, by x264 in an FFmpeg that stays:
// one for each picture takes 60 ms to start. They come in an AVI, which tells
// where each ends and leaves them as they are (Annex B).
type keyFrames struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.Reader
	pic  []byte
	open bool
}

func newKeyFrames(ctx context.Context, quantiser int) (*keyFrames, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-fflags", "nobuffer",
		"-f", "rawvideo", "-pix_fmt", "gray", "-s", fmt.Sprintf("%dx%d", frameWidth, frameHeight), "-i", "-",
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-threads", "1", "-g", "1", "-qp", strconv.Itoa(quantiser),
		"-flush_packets", "1", "-f", "avi", "-")
	k := &keyFrames{cmd: cmd}
	var err error
	if k.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if k.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("H.264 is coded by FFmpeg with libx264: %w", err)
	}
	return k, nil
}

// code sends the picture twice, for FFmpeg holds back the one that came last.
func (k *keyFrames) code(img *image.Gray) ([]byte, error) {
	chunks := 2 // the second of the picture before, and the first of this one
	if !k.open {
		chunks = 1
	}
	wrote := make(chan error, 1) // holds the one value, whether it is waited for or not
	go func() {
		_, err := k.in.Write(img.Pix)
		if err == nil {
			_, err = k.in.Write(img.Pix)
		}
		wrote <- err
	}()
	err := k.begin()
	for range chunks {
		if err == nil {
			err = k.chunk()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("FFmpeg coded no key frame: %w", err)
	}
	return k.pic, <-wrote
}

// begin reads up to the first picture: RIFF size AVI, then LISTs of which the
// last is movi (Microsoft, AVI RIFF File Reference).
func (k *keyFrames) begin() error {
	if k.open {
		return nil
	}
	k.open = true
	var head [12]byte
	if _, err := io.ReadFull(k.out, head[:]); err != nil {
		return err
	}
	for {
		if _, err := io.ReadFull(k.out, head[:8]); err != nil {
			return err
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		if string(head[:4]) == "LIST" {
			if _, err := io.ReadFull(k.out, head[8:]); err != nil {
				return err
			}
			if string(head[8:]) == "movi" {
				return nil
			}
			size -= 4
		}
		if _, err := io.CopyN(io.Discard, k.out, size+size%2); err != nil {
			return err
		}
	}
}

// maxKeyFrame is more than any picture of this size has.
const maxKeyFrame = 1 << 20

// chunk reads one picture.
func (k *keyFrames) chunk() error {
	var head [8]byte
	if _, err := io.ReadFull(k.out, head[:]); err != nil {
		return err
	}
	size := int(binary.LittleEndian.Uint32(head[4:]))
	if string(head[:4]) != "00dc" || size > maxKeyFrame {
		return fmt.Errorf("AVI chunk %q of %d bytes", head[:4], size)
	}
	k.pic = append(k.pic[:0], make([]byte, size+size%2)...)
	_, err := io.ReadFull(k.out, k.pic)
	k.pic = k.pic[:size]
	return err
}

// Close ends FFmpeg, which has pictures left that nobody wants.
func (k *keyFrames) Close() error {
	_ = k.in.Close() // it may have ended by itself
	_, err := io.Copy(io.Discard, k.out)
	return errors.Join(err, k.cmd.Wait())
}
