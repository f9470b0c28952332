package gateway

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that ours rests on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Inbound receives an agent's messages on one stream. Reports, which are nearly
// all of what comes, are not copied: their records are read where they arrived.
// Its zero value is ready.
type Inbound struct {
	m      *wire.FromAgent // the last message
	buf    mem.Buffer      // where its records lie; nil unless it is a report
	report struct {
		message wire.FromAgent
		body    wire.FromAgent_Report
		report  wire.Report
	}
}

// Receive waits for the next message. It is good until the next Receive or
// Release. The stream's server must come from NewServer.
func (in *Inbound) Receive(stream wire.Agents_LinkServer) (*wire.FromAgent, error) {
	in.Release()
	if err := stream.RecvMsg(in); err != nil {
		return nil, err
	}
	return in.m, nil
}

// Release gives the last message's memory back.
func (in *Inbound) Release() {
	in.m = nil
	if in.buf != nil {
		in.report.report.Packed = nil
		in.buf.Free()
		in.buf = nil
	}
}

func (in *Inbound) unmarshal(data mem.BufferSlice) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	if in.takeReport(buf.ReadOnlyData()) {
		in.buf = buf
		return nil
	}
	defer buf.Free()
	in.m = &wire.FromAgent{}
	return proto.Unmarshal(buf.ReadOnlyData(), in.m)
}

// takeReport reads b if it is one report and nothing else. What it does not
// know is proto.Unmarshal's.
func (in *Inbound) takeReport(b []byte) bool {
	field, kind, n := protowire.ConsumeTag(b)
	if n < 0 || field != 3 || kind != protowire.BytesType {
		return false
	}
	body, k := protowire.ConsumeBytes(b[n:])
	if k < 0 || n+k != len(b) {
		return false
	}
	r := &in.report.report
	r.Batch, r.Packed, r.Pending = 0, nil, 0
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return false
		}
		body = body[n:]
		switch {
		case field == 1 && kind == protowire.VarintType:
			r.Batch, n = protowire.ConsumeVarint(body)
		case field == 2 && kind == protowire.BytesType:
			r.Packed, n = protowire.ConsumeBytes(body)
		case field == 3 && kind == protowire.VarintType:
			r.Pending, n = protowire.ConsumeVarint(body)
		default:
			return false
		}
		if n < 0 {
			return false
		}
		body = body[n:]
	}
	in.report.body.Report = r
	in.report.message.Body = &in.report.body
	in.m = &in.report.message
	return true
}

// codec is gRPC's own for protobuf, and Inbound's.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(*Inbound); ok {
		return in.unmarshal(data)
	}
	return c.CodecV2.Unmarshal(data, v)
}
