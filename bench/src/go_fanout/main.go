// bench/src/go_fanout/main.go: the peer of bench/realtime: events to all WebSockets that want them, with gorilla/websocket.
//
// As one writes it: a token (HS256) checked in the handshake, subscriptions as those of usher.v1 (types, filter), an
// event parsed and framed once (a PreparedMessage), a goroutine that reads and one that writes for each socket. Events come
// as lines of JSON on another port, so what it costs to get them is less than for usherd, which reads them from the
// database. Settings from the environment: PORT, FEED_PORT, KEY (base64url).
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

type condition struct {
	path  []string
	value any
}

type subscription struct {
	types  [][]string
	filter []condition
}

type client struct {
	socket        *websocket.Conn
	send          chan *websocket.PreparedMessage
	lock          sync.RWMutex
	subscriptions []subscription
}

var (
	key      []byte
	lock     sync.RWMutex
	clients  = map[*client]struct{}{}
	upgrader = websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &sync.Pool{},
		Subprotocols: []string{"usher.v1"}}
)

func tokenIsGood(authorization string) bool {
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	return json.Unmarshal(text, &claims) == nil && (claims.Exp == 0 || claims.Exp > time.Now().Unix())
}

func segmentsMatch(pattern, name []string) bool {
	for i, segment := range pattern {
		if segment == "**" {
			for rest := i; rest <= len(name); rest++ {
				if segmentsMatch(pattern[i+1:], name[rest:]) {
					return true
				}
			}
			return false
		}
		if i >= len(name) || (segment != "*" && segment != name[i]) {
			return false
		}
	}
	return len(pattern) == len(name)
}

func valueAt(event any, path []string) any {
	for _, name := range path {
		object, ok := event.(map[string]any)
		if !ok {
			return nil
		}
		event = object[name]
	}
	return event
}

func (s *subscription) wants(event map[string]any, name []string) bool {
	matches := false
	for _, pattern := range s.types {
		matches = matches || segmentsMatch(pattern, name)
	}
	if !matches {
		return false
	}
	for _, wanted := range s.filter {
		if valueAt(event, wanted.path) != wanted.value {
			return false
		}
	}
	return true
}

func (c *client) wants(event map[string]any, name []string) bool {
	c.lock.RLock()
	defer c.lock.RUnlock()
	for i := range c.subscriptions {
		if c.subscriptions[i].wants(event, name) {
			return true
		}
	}
	return false
}

func (c *client) write() {
	for message := range c.send {
		c.socket.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if c.socket.WritePreparedMessage(message) != nil {
			break
		}
	}
	c.socket.Close()
}

type message struct {
	Op     string         `json:"op"`
	Sub    string         `json:"sub"`
	Types  []string       `json:"types"`
	Filter map[string]any `json:"filter"`
}

func (c *client) subscribe(asked message) {
	var s subscription
	for _, pattern := range asked.Types {
		s.types = append(s.types, strings.Split(pattern, "."))
	}
	for path, value := range asked.Filter {
		s.filter = append(s.filter, condition{strings.Split(path, "."), value})
	}
	c.lock.Lock()
	c.subscriptions = append(c.subscriptions, s)
	c.lock.Unlock()
	answer, _ := json.Marshal(map[string]string{"op": "subscribed", "sub": asked.Sub})
	prepared, _ := websocket.NewPreparedMessage(websocket.TextMessage, answer)
	c.send <- prepared
}

func serve(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Write([]byte("ok\n"))
		return
	}
	if !tokenIsGood(r.Header.Get("Authorization")) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	socket.SetReadLimit(65536)
	c := &client{socket: socket, send: make(chan *websocket.PreparedMessage, 16)}
	lock.Lock()
	clients[c] = struct{}{}
	lock.Unlock()
	go c.write()
	// Not in the handler's goroutine, whose stack has grown.
	go func() {
		for {
			var asked message
			if socket.ReadJSON(&asked) != nil {
				break
			}
			if asked.Op == "subscribe" {
				c.subscribe(asked)
			}
		}
		lock.Lock()
		delete(clients, c)
		lock.Unlock()
		close(c.send)
	}()
}

func broadcast(line []byte) {
	var event map[string]any
	if json.Unmarshal(line, &event) != nil {
		return
	}
	frame, _ := json.Marshal(map[string]any{"op": "events", "position": event["position"], "events": []any{event}})
	prepared, _ := websocket.NewPreparedMessage(websocket.TextMessage, frame)
	kind, _ := event["type"].(string)
	name := strings.Split(kind, ".")
	lock.RLock()
	defer lock.RUnlock()
	for c := range clients {
		if c.wants(event, name) {
			select {
			case c.send <- prepared:
			default:
				c.socket.Close() // too slow
			}
		}
	}
}

func feed(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				broadcast(lines.Bytes())
			}
			connection.Close()
		}()
	}
}

func main() {
	var err error
	if key, err = base64.RawURLEncoding.DecodeString(os.Getenv("KEY")); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FEED_PORT"))
	if err != nil {
		log.Fatal(err)
	}
	go feed(listener)
	http.HandleFunc("/", serve)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
