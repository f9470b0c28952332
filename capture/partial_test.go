package capture_test

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestPartialPictures: of a frame that is cut off after most of its picture
// there is a verdict and a thumbnail, and no fingerprint that could be found
// again; where no verdict is asked for it is corrupt.
func TestPartialPictures(t *testing.T) {
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t)})
	for c, data := range map[fleet.Codec][]byte{
		fleet.JPEG: jpegOf(t, street(640, 360)),
		fleet.H264: encode(t, fleet.H264, "-x264-params", "slices=5:qp=20"),
	} {
		whole, err := r.Read(t.Context(), fleet.Frame{Codec: c, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		cut := fleet.Frame{Codec: c, Data: data[:len(data)*85/100]}
		if res, err := r.Read(t.Context(), cut); cause(err) != fleet.CauseCorrupt {
			t.Errorf("%s, read: %v, %dx%d", c, err, res.Width, res.Height)
		}
		if _, err := r.Inspect(t.Context(), cut, capture.Probe{}); cause(err) != fleet.CauseCorrupt {
			t.Errorf("%s, inspected: %v", c, err)
		}
		in, err := r.Inspect(t.Context(), cut, capture.Probe{Deblock: true, Judge: func(*fleet.Reading, quality.Sample) fleet.Verdict { return fleet.Verdict{} }})
		if err != nil || in.Missing <= 0 || in.Missing > 0.5 || in.Deblocked {
			t.Errorf("%s, inspected for what there is: %v, %v is missing, deblocked %v", c, err, in.Missing, in.Deblocked)
		}
		res, err := r.ReadJudged(t.Context(), cut, nil, func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
			if x.Missing != in.Missing {
				t.Errorf("%s: the judge is told that %v is missing, want %v", c, x.Missing, in.Missing)
			}
			v, _ := quality.Judge(quality.Options{}, quality.State{}, x)
			return v.Record()
		})
		if v := res.Verdict; err != nil || v.Fault != fleet.FaultCorrupt || v.Metric != "missing" || v.Value != in.Missing || v.Score != 1 {
			t.Errorf("%s, judged: %v, %+v", c, err, v)
		}
		if res.Fingerprint != (fleet.Fingerprint{}) || res.Width != whole.Width || res.Height != whole.Height || len(res.Thumbnail) == 0 || res.SHA256 == whole.SHA256 {
			t.Errorf("%s: %dx%d, fingerprint %+v, thumbnail of %d bytes", c, res.Width, res.Height, res.Fingerprint, len(res.Thumbnail))
		}
		if res.Quality == (fleet.Quality{}) {
			t.Errorf("%s: no scores", c)
		}
		// The next frame, whole, has everything again.
		if again, err := r.Read(t.Context(), fleet.Frame{Codec: c, Data: data}); err != nil || again.Fingerprint != whole.Fingerprint || again.Quality != whole.Quality {
			t.Errorf("%s, whole after it: %v", c, err)
		}
	}
}

// TestPartialH265: FFmpeg decodes what came of H.265 as if it were all, and what
// is missing is told all the same.
func TestPartialH265(t *testing.T) {
	r := reader(t, capture.Options{})
	data := encode(t, fleet.H265, "-x265-params", "log-level=none:wpp=0:crf=15")
	judge := func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
		v, _ := quality.Judge(quality.Options{}, quality.State{}, x)
		return v.Record()
	}
	whole, err := r.ReadJudged(t.Context(), fleet.Frame{Codec: fleet.H265, Data: data}, nil, judge)
	if err != nil || whole.Verdict.Fault == fleet.FaultCorrupt || whole.Fingerprint.PDQ == (fleet.PDQ{}) {
		t.Fatalf("whole: %v, %+v", err, whole.Verdict)
	}
	cut := fleet.Frame{Codec: fleet.H265, Data: data[:len(data)*85/100]}
	res, err := r.ReadJudged(t.Context(), cut, nil, judge)
	if err != nil || res.Verdict.Fault != fleet.FaultCorrupt || res.Fingerprint != (fleet.Fingerprint{}) || len(res.Thumbnail) == 0 {
		t.Errorf("cut to 85 %%: %v, %+v, fingerprint %+v, thumbnail of %d bytes", err, res.Verdict, res.Fingerprint, len(res.Thumbnail))
	}
	if _, err := r.Read(t.Context(), cut); cause(err) != fleet.CauseCorrupt {
		t.Errorf("cut to 85 %%, without a judge: %v", err)
	}
	cut.Data = data[:len(data)*2/10]
	if _, err := r.ReadJudged(t.Context(), cut, nil, judge); cause(err) != fleet.CauseCorrupt {
		t.Errorf("cut to 20 %%: %v", err)
	}
	again, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.H265, Data: data})
	if err != nil || again.Fingerprint != whole.Fingerprint {
		t.Errorf("whole after it: %v", err)
	}
}

// TestPartialTinyPictures: one that is too small for a verdict would pass for a
// whole one.
func TestPartialTinyPictures(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true})
	for h := 1; h < 60; h += 4 {
		data := jpegOf(t, street(4, h))
		for n := range data {
			res, err := r.ReadJudged(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: data[:n]}, nil, func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
				v, _ := quality.Judge(quality.Options{}, quality.State{}, x)
				return v.Record()
			})
			if err == nil && n < len(data)-2 && res.Verdict.Fault != fleet.FaultCorrupt {
				t.Fatalf("4x%d cut to %d of %d bytes: %+v", h, n, len(data), res.Verdict)
			}
		}
	}
}

// TestNothingOfAnotherFrameShows: what is missing of a picture is gray, whatever
// the frames before it in the same memory showed: they may be another camera's,
// under another mask.
func TestNothingOfAnotherFrameShows(t *testing.T) {
	const w, h = 640, 360
	red := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(red, red.Rect, image.NewUniform(color.RGBA{250, 10, 10, 255}), image.Point{}, draw.Src)
	for name, c := range map[string]struct {
		codec         fleet.Codec
		before, after []byte
		masks         []*fleet.Mask
	}{
		"JPEG":  {fleet.JPEG, jpegOf(t, red), jpegOf(t, street(w, h)), []*fleet.Mask{nil, corner()}},
		"H.264": {fleet.H264, encode(t, fleet.H264, "-vf", "negate", "-x264-params", "qp=20"), encode(t, fleet.H264, "-x264-params", "slices=5:qp=20"), []*fleet.Mask{nil, corner()}},
	} {
		judge := func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
			v, _ := quality.Judge(quality.Options{}, quality.State{}, x)
			return v.Record()
		}
		cut := fleet.Frame{Codec: c.codec, Data: c.after[:len(c.after)*7/10]}
		for _, m := range c.masks {
			want, err := reader(t, capture.Options{Width: 1, Worker: withoutFFmpeg(t)}).ReadJudged(t.Context(), cut, m, judge)
			if err != nil || len(want.Thumbnail) == 0 || want.Verdict.Fault != fleet.FaultCorrupt || want.Fingerprint != (fleet.Fingerprint{Mask: m.Sum()}) {
				t.Fatalf("%s: %v, %+v, %+v", name, err, want.Verdict, want.Fingerprint)
			}
			r := reader(t, capture.Options{Width: 1, Worker: withoutFFmpeg(t)})
			if _, err := r.Read(t.Context(), fleet.Frame{Codec: c.codec, Data: c.before}); err != nil {
				t.Fatal(err)
			}
			got, err := r.ReadJudged(t.Context(), cut, m, judge)
			if err != nil || !bytes.Equal(got.Thumbnail, want.Thumbnail) || got.Quality != want.Quality || got.Verdict != want.Verdict {
				t.Errorf("%s, masked %v: behind another frame it is read otherwise: %v\n%+v\n%+v", name, m != nil, err, got.Quality, want.Quality)
			}
			if m == nil {
				continue
			}
			// The mask hides of what is there and of what is missing.
			thumb, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
			if err != nil {
				t.Fatal(err)
			}
			b := thumb.Bounds()
			for y := b.Dy()/2 + 8; y < b.Dy(); y++ {
				for x := b.Dx()/2 + 8; x < b.Dx(); x++ {
					if v := color.GrayModel.Convert(thumb.At(x, y)).(color.Gray).Y; v > 8 {
						t.Fatalf("%s: the thumbnail shows %d at %d,%d, where the mask is", name, v, x, y)
					}
				}
			}
		}
	}
}
