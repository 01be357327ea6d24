package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
)

// booking is what a message says: an amount for an account.
type booking struct {
	// ID is the producer's own and the same in every copy of the message. The stream's ID is not: it is another for each.
	ID      string `json:"id"`
	Account string `json:"account"`
	Amount  int64  `json:"amount"` // in the smallest unit of the currency
}

// delivery is a message as the queue handed it out.
type delivery struct {
	streamID string
	body     string
	booking  booking
	bad      error // the body is no booking
}

// fingerprint is of what was understood, so that another message under the same ID is noticed.
func (d *delivery) fingerprint() string {
	return idempotency.Fingerprint([]byte(d.booking.Account), []byte(strconv.FormatInt(d.booking.Amount, 10)))
}

// queue is a stream and a consumer group. A message that was delivered is pending, under the name of its consumer, until it
// is acknowledged; a consumer that is killed leaves its own pending, and next takes them over.
type queue struct {
	client                  *goredis.Client
	stream, group, consumer string
	minIdle                 time.Duration

	cursor string // where the search among what is pending goes on
}

const field = "booking"

// keys begins the key of every message: in each group each message has its effect.
func (q *queue) keys() string { return q.stream + "/" + q.group + "/" }

// create makes the group, which gets what is in the stream already.
func (q *queue) create(ctx context.Context) error {
	err := q.client.XGroupCreateMkStream(ctx, q.stream, q.group, "0").Err()
	if goredis.HasErrorPrefix(err, "BUSYGROUP") { // it is there
		return nil
	}
	return err
}

// next takes up to n messages: first what has been pending for minIdle, whoever's it was, else new ones, for which it waits
// a while. Where the reply is lost they stay pending, and come again.
//
// A consumer that is alive and slower than minIdle has its messages taken as well. That two work on one message then is
// not prevented here: it is what the keys are for.
func (q *queue) next(ctx context.Context, n int) ([]delivery, error) {
	left, cursor, err := q.client.XAutoClaim(ctx, &goredis.XAutoClaimArgs{
		Stream: q.stream, Group: q.group, Consumer: q.consumer, MinIdle: q.minIdle, Start: cmp.Or(q.cursor, "0-0"), Count: int64(n),
	}).Result()
	if err != nil {
		return nil, err
	}
	q.cursor = cursor
	if len(left) > 0 {
		return deliveries(left), nil
	}
	fresh, err := q.client.XReadGroup(ctx, &goredis.XReadGroupArgs{
		Group: q.group, Consumer: q.consumer, Streams: []string{q.stream, ">"}, Count: int64(n), Block: min(q.minIdle, time.Second),
	}).Result()
	if errors.Is(err, goredis.Nil) { // nothing came
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return deliveries(fresh[0].Messages), nil
}

func deliveries(messages []goredis.XMessage) []delivery {
	list := make([]delivery, len(messages))
	for i, m := range messages {
		d := &list[i]
		d.streamID = m.ID
		d.body, _ = m.Values[field].(string)
		if err := json.Unmarshal([]byte(d.body), &d.booking); err != nil {
			d.bad = errors.New("not a booking")
		} else if d.booking.ID == "" {
			d.bad = errors.New("no id")
		}
	}
	return list
}

// ack ends the deliveries: it comes after the record of what was done about them.
func (q *queue) ack(ctx context.Context, streamIDs []string) error {
	return q.client.XAck(ctx, q.stream, q.group, streamIDs...).Err()
}

// bury puts a message aside that can never be applied, for people to look at, and ends its delivery, both or neither.
func (q *queue) bury(ctx context.Context, d delivery, why error) error {
	_, err := q.client.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		p.XAdd(ctx, &goredis.XAddArgs{Stream: q.stream + ":dead", Values: []string{field, d.body, "group", q.group, "why", why.Error()}})
		p.XAck(ctx, q.stream, q.group, d.streamID)
		return nil
	})
	return err
}

// pending is the number of deliveries that nobody has acknowledged.
func (q *queue) pending(ctx context.Context) (int64, error) {
	p, err := q.client.XPending(ctx, q.stream, q.group).Result()
	if err != nil {
		return 0, err
	}
	return p.Count, nil
}

// publish sends messages. When it fails, send all of them again: what arrived twice is applied once.
func (q *queue) publish(ctx context.Context, list []booking) error {
	const together = 1000
	for len(list) > 0 {
		part := list[:min(together, len(list))]
		list = list[len(part):]
		_, err := q.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, b := range part {
				body, _ := json.Marshal(b) // strings and a number: cannot fail
				p.XAdd(ctx, &goredis.XAddArgs{Stream: q.stream, Values: []string{field, string(body)}})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// publishSample publishes n messages, a third of them twice, and returns how many that were.
func (q *queue) publishSample(ctx context.Context, n int) (int, error) {
	run := rand.Text()[:8]
	list := make([]booking, 0, n+n/3)
	for i := range n {
		b := booking{ID: fmt.Sprintf("%s-%d", run, i), Account: fmt.Sprintf("account-%d", i%7), Amount: int64(1 + i%100)}
		list = append(list, b)
		if i%3 == 2 {
			list = append(list, b)
		}
	}
	mathrand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return len(list), q.publish(ctx, list)
}
