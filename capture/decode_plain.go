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
	return codec.Unsupported("this build has no OpenCV")
}
