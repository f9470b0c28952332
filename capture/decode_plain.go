//go:build !gocv

package capture

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

const (
	openCV    = ""
	hasOpenCV = false
)

func decodeByOpenCV(context.Context, []byte, codec.Limits, int, *codec.Picture) error {
	return codec.Unsupported("only builds with OpenCV (the tag gocv) read such files: convert it to PNG")
}
