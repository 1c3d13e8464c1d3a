// bench/src/redis_server: the usual fast way to sell places, as the peer of bench/rush: Go's net/http and a Redis Lua script.
//
// POST /v1/boxoffice/bookings/reserve takes the same bytes as usherd and answers the same way. Of what usherd does it does
// this: it verifies the token (HS256, issuer, audience, expiry), and one Lua script checks the free places, counts the
// user's places against the limit, deducts, and keeps the hold with a time to live. It keeps no key, writes no access log,
// counts no rates and keeps no row of a booking.
//
// usage: redis_server PORT REDIS_ADDRESS each|pipeline SECRET_HEX|- ISSUER AUDIENCE LIMIT
//
// each: one script.Run a request, as go-redis documents it. pipeline: requests that arrive while a pipeline is under way
// travel together as the next one, at most 500, on one of two connections at a time. SECRET_HEX -: no token is looked at.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	pipelineMax   = 500
	pipelines     = 2
	holdSeconds   = 600
	granted       = 1
	soldOut       = 0
	overUserLimit = -1
)

// KEYS: free places, the user's places, the hold. ARGV: quantity, limit, user, seconds. Answers what became of it and what is left.
var reserve = redis.NewScript(`
local free = tonumber(redis.call('GET', KEYS[1]) or '0')
local quantity = tonumber(ARGV[1])
if free < quantity then return {0, free} end
local has = tonumber(redis.call('GET', KEYS[2]) or '0')
if has + quantity > tonumber(ARGV[2]) then return {-1, tonumber(ARGV[2]) - has} end
redis.call('INCRBY', KEYS[2], quantity)
redis.call('SET', KEYS[3], ARGV[3] .. ':' .. quantity, 'EX', ARGV[4])
return {1, redis.call('DECRBY', KEYS[1], quantity)}
`)

type request struct {
	Show     int64 `json:"show"`
	Zone     int64 `json:"zone"`
	Quantity int64 `json:"quantity"`
}

type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	Expires  int64  `json:"exp"`
}

type outcome struct {
	state, left int64
	err         error
}

type pending struct {
	keys []string
	args []interface{}
	done chan outcome
}

type server struct {
	redis            *redis.Client
	secret           []byte
	issuer, audience string
	limit            int64
	waiting          chan *pending // nil: each by itself
}

// user is who the token says; empty when it is not good.
func (s *server) user(r *http.Request) string {
	if s.secret == nil {
		return "user-" + r.Header.Get("User")
	}
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return ""
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, s.secret)
	io.WriteString(mac, parts[0])
	io.WriteString(mac, ".")
	io.WriteString(mac, parts[1])
	if !hmac.Equal(signature, mac.Sum(nil)) {
		return ""
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var c claims
	if decode(parts[0], &header) != nil || header.Algorithm != "HS256" || decode(parts[1], &c) != nil ||
		c.Issuer != s.issuer || c.Audience != s.audience || time.Now().Unix() >= c.Expires {
		return ""
	}
	return c.Subject
}

func decode(part string, to interface{}) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func result(values []int64, err error) outcome {
	if err != nil || len(values) != 2 {
		return outcome{err: fmt.Errorf("redis: %w", err)}
	}
	return outcome{state: values[0], left: values[1]}
}

func (s *server) ask(ctx context.Context, keys []string, args []interface{}) outcome {
	if s.waiting == nil {
		return result(reserve.Run(ctx, s.redis, keys, args...).Int64Slice())
	}
	p := &pending{keys, args, make(chan outcome, 1)}
	s.waiting <- p
	return <-p.done
}

// pipe sends what has come together as one pipeline, again and again.
func (s *server) pipe() {
	ctx := context.Background()
	batch := make([]*pending, 0, pipelineMax)
	commands := make([]*redis.Cmd, 0, pipelineMax)
	for first := range s.waiting {
		batch, commands = append(batch[:0], first), commands[:0]
	gather:
		for len(batch) < pipelineMax {
			select {
			case p := <-s.waiting:
				batch = append(batch, p)
			default:
				break gather
			}
		}
		pipeline := s.redis.Pipeline()
		for _, p := range batch {
			commands = append(commands, pipeline.EvalSha(ctx, reserve.Hash(), p.keys, p.args...))
		}
		pipeline.Exec(ctx) // each command has its own error
		for i, p := range batch {
			p.done <- result(commands[i].Int64Slice())
		}
	}
}

func uuid() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func problem(w http.ResponseWriter, status int, kind string, remaining int64) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"/problems/%s","status":%d,"remaining":%d}`, kind, status, remaining)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := s.user(r)
	if user == "" {
		problem(w, http.StatusUnauthorized, "invalid-token", 0)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	var asked request
	if err != nil || json.Unmarshal(body, &asked) != nil || asked.Quantity < 1 || asked.Quantity > 1000 {
		problem(w, http.StatusUnprocessableEntity, "invalid-body", 0)
		return
	}
	booking, zone := uuid(), strconv.FormatInt(asked.Zone, 10)
	answer := s.ask(r.Context(), []string{"zone:" + zone, "user:" + user, "hold:" + booking},
		[]interface{}{asked.Quantity, s.limit, user, holdSeconds})
	switch {
	case answer.err != nil:
		log.Print(answer.err)
		problem(w, http.StatusServiceUnavailable, "unavailable", 0)
	case answer.state == soldOut:
		problem(w, http.StatusConflict, "sold-out", answer.left)
	case answer.state == overUserLimit:
		problem(w, http.StatusConflict, "user-limit", answer.left)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"booking":"%s","user":"%s","show":%d,"zone":%d,"quantity":%d,"status":"reserved"}`,
			booking, user, asked.Show, asked.Zone, asked.Quantity)
	}
}

func main() {
	if len(os.Args) != 8 {
		log.Fatal("usage: redis_server PORT REDIS_ADDRESS each|pipeline SECRET_HEX|- ISSUER AUDIENCE LIMIT")
	}
	limit, err := strconv.ParseInt(os.Args[7], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{redis: redis.NewClient(&redis.Options{Addr: os.Args[2]}), issuer: os.Args[5], audience: os.Args[6], limit: limit}
	if os.Args[4] != "-" {
		if s.secret, err = hex.DecodeString(os.Args[4]); err != nil {
			log.Fatal(err)
		}
	}
	if err := reserve.Load(context.Background(), s.redis).Err(); err != nil {
		log.Fatal(err)
	}
	if os.Args[3] == "pipeline" {
		s.waiting = make(chan *pending, 10*pipelineMax)
		for i := 0; i < pipelines; i++ {
			go s.pipe()
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/boxoffice/bookings/reserve", s)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], mux))
}
