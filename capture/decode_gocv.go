//go:build gocv

package capture

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/opencv"
)

const (
	openCV    = "opencv" // what an Inspection calls it
	hasOpenCV = true
)

// decodeByOpenCV decodes a still that the decoders here do not know.
func decodeByOpenCV(ctx context.Context, data []byte, l codec.Limits, chroma int, pic *codec.Picture) error {
	return opencv.Decode(ctx, data, opencv.Options{Limits: l, Chroma: chroma}, pic)
}
