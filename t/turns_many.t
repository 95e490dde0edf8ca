#!/usr/bin/env perl

# A turn of a worker belongs to all.  If this fails, one array of commands, one
# batch of the HTTP API, one handshake that joins thousands of channels, or one session that leaves them,
# holds a worker until it is done, and everybody else on it waits; or what is
# done in steps is not what it was as a whole.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $n = 3000;

my $autojoin = join "\n", map { "fanout_autojoin auto:$_;" } 1 .. $n;

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 64m;
                fanout_channel app kept history=10000;',
    server  => "fanout_permit all *;
                fanout_rate off;
                fanout_budget off;
                fanout_channels_per_session 10000;
                fanout_message_size 256k;
                client_body_buffer_size 512k;
                location /rt   { fanout app; }
                location /now  { fanout app; fanout_drain 0; }
                location /auto { fanout app; $autojoin }
                location /api/ { fanout_api app; }
                location /status { fanout_status app; }"
);

my $http = $nginx->http;

my ($pid) = $nginx->worker_pids;


# 64 commands of 64 messages

sub array_of {
    my ($name, $base) = @_;

    return '[' . join(',', map {
        my $id = $_;
        qq({"id":$id,"op":"publish","channel":"$name","messages":[)
        . join(',', map { '{"data":' . ($base + ($id - 1) * 64 + $_) . '}' }
               1 .. 64)
        . ']}'
    } 1 .. 64) . ']';
}


sub worker { $http->get('/status')->json->{workers}[0]{counters} }


# Both wait in the sockets of a worker that stands still, first this, then that.

sub at_once {
    my ($this, $that) = @_;

    $http->get('/status');
    kill STOP => $pid;
    $this->();
    $that->();
    kill CONT => $pid;
}


# By how much a counter has grown when others are served first that have come
# just after what is done.  That they came after is tried until they did.

sub when_served {
    my ($name, $prepare, $do) = @_;

    for (1 .. 20) {
        my $x = $prepare->();
        my $ask = Fanout::HTTP->new(port => $nginx->port);

        my $before = $ask->get('/status')->json->{workers}[0]{counters};
        my $get = "GET /status HTTP/1.1\r\nHost: localhost\r\n";

        at_once(sub { $do->($x) },
                sub { $ask->connection->send_bytes(
                          "$get\r\n" x 3 . "${get}Connection: close\r\n\r\n") });

        my $socket = $ask->connection;

        while (!$socket->eof) {
            $socket->fill(60) or last;
        }

        my @more = grep { $_ } map { $_ - $before->{$name} }
                   ${ $socket->buffer } =~ /"workers":.*?"\Q$name\E":(\d+)/g;

        return ($more[0], $before->{$name}, $x) if @more;
    }

    die "the other was always served before: $name";
}


# the replies, and what is told of channels, until the reply with this id

sub until_reply {
    my ($ws, $last) = @_;

    my (@replies, @told, @arrays, @gaps);

    while (my $m = $ws->recv_message(60)) {
        my $j = Fanout::JSON::decode($m->{payload});
        my @all = ref $j eq 'ARRAY' ? @$j : ($j);

        push @arrays, scalar @all if ref $j eq 'ARRAY';
        push @told, map { $_->{data} } grep { exists $_->{data} } @all;
        push @gaps, grep { $_->{gap} } @all;
        push @replies, map { $_->{id} } grep { exists $_->{id} } @all;

        last if @replies && $replies[-1] eq $last;
    }

    return { replies => \@replies, told => \@told, arrays => \@arrays,
             gaps => \@gaps };
}


subtest 'an array that is much work' => sub {
    my @ws = map { $nginx->native(path => '/rt') } 1 .. 2;

    at_once(sub { $ws[0]->send_text(array_of('kept', 0)) },
            sub { $ws[1]->send_text(array_of('kept', 10000)) });

    until_reply($_, 64) for @ws;

    my @order = map { $_->{data} } map {
        my $before = $_;
        @{ $http->get("/api/channels/kept/messages?limit=1000&before=$before")
               ->json->{messages} }
    } map { $_ * 1000 + 193 } 0 .. 8;

    is(@order, 8192, 'all messages are there');

    my ($first, $second) = map {
        my $base = $_;
        [ grep { $_ > $base && $_ <= $base + 4096 } @order ]
    } 0, 10000;

    is_deeply($first, [ 1 .. 4096 ], 'of one array in order');
    is_deeply($second, [ 10001 .. 14096 ], 'of the other as well');

    my %at = map { $order[$_] => $_ } 0 .. $#order;

    cmp_ok($at{10001}, '<', $at{4096}, 'the first waits for the second');
    cmp_ok($at{1}, '<', $at{14096}, 'and the second for the first');
};


subtest 'the same, by who hears it' => sub {
    my $ws = $nginx->native(path => '/rt');

    # a channel without history: what is not told at once is lost

    $ws->ok(join => channel => 'live');
    $ws->send_bytes($ws->frame(1, array_of('live', 0))
                    . $ws->frame(1, '{"id":"last","op":"ping"}'));

    my $got = until_reply($ws, 'last');
    my $told = $got->{told};

    while (@$told < 4096 && (my $m = $ws->recv_message(60))) {
        push @$told, map { $_->{data} // () }
                         Fanout::JSON::decode($m->{payload});
    }

    is_deeply($got->{replies}, [ 1 .. 64, 'last' ], 'replies, in order');
    is_deeply($got->{arrays}, [ 64 ], 'as one array');
    is_deeply($got->{gaps}, [], 'nothing is lost');
    is_deeply($told, [ 1 .. 4096 ], 'and its own messages');
};


subtest 'an array that is little work is answered as one' => sub {
    my $ws = $nginx->native(path => '/rt');
    my $text = '[' . join(',', map {
        qq({"id":$_,"op":"publish","channel":"kept","data":$_})
    } 1 .. 64) . ']';

    $ws->send_bytes($ws->frame(1, $text)
                    . $ws->frame(1, '{"id":"last","op":"ping"}'));

    is_deeply(until_reply($ws, 'last')->{arrays}, [ 64 ], 'one array');
};


subtest 'by POST' => sub {
    my $r = $http->post('/rt', array_of('post', 0),
                        headers => { 'Content-Type' => 'application/json' });

    is($r->{status}, 200, 'it is answered');
    is_deeply([ map { $_->{id} } @{ $r->json } ], [ 1 .. 64 ],
              'as one array, in order');

    my ($more) = when_served('published',
        sub { Fanout::Socket->open(port => $nginx->port) },
        sub {
            my $body = array_of('live', 0);

            $_[0]->send_bytes("POST /rt HTTP/1.1\r\nHost: localhost\r\n"
                              . "Content-Type: application/json\r\n"
                              . 'Content-Length: ' . length($body)
                              . "\r\n\r\n$body");
        });

    cmp_ok($more, '<', 3000, "messages before another is served: $more");

    $r = $http->post('/rt', '[{"id":7,"op":"ping"}]',
                     headers => { 'Content-Type' => 'application/json' });
    is($r->{body}, qq([{"id":7,"ok":{"time":) . $r->json->[0]{ok}{time}
                   . "}}]\n", 'an array of one is answered by one');
};


subtest 'a broadcast of the HTTP API' => sub {
    my $data = Fanout::JSON::encode('x' x 2000);
    my $body = '{"channels":[' . join(',', map { qq("cast:$_") } 1 .. 999)
               . qq(],"data":$data});
    my $head = "POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\n"
               . 'Content-Length: ' . length($body) . "\r\n\r\n";

    my ($more) = when_served('api_published',
        sub { Fanout::Socket->open(port => $nginx->port) },
        sub { $_[0]->send_bytes($head . $body) });

    cmp_ok($more, '<', 700, "channels before another is served: $more");

    my $r = $http->post('/api/broadcast', $body);

    is($r->{status}, 200, 'it is answered');

    my @results = @{ $r->json->{results} };

    is_deeply([ map { $_->{channel} } @results ],
              [ map { "cast:$_" } 1 .. 999 ], 'with all results, in order');
    is(scalar(grep { $_->{ok}{offset} } @results), 999, 'each of them well');

    # who goes meanwhile

    my $gone = Fanout::Socket->open(port => $nginx->port);

    at_once(sub { $gone->send_bytes($head . $body) }, sub { $gone->cut });
    is($http->get('/status')->{status}, 200, 'a client may go meanwhile');
};


subtest 'a batch of the HTTP API' => sub {
    for my $i (1 .. 20) {
        $http->post('/api/channels/kept/messages',
                    Fanout::JSON::encode('x' x 60000));
    }

    my $r = $http->post('/api/batch', '[' . join(',', map {
        '{"op":"history","channel":"kept","limit":20},'
        . qq({"op":"publish","channel":"b","data":$_})
    } 1 .. 32) . ']');

    my @results = @{ $r->json };

    is(scalar(grep { $_->{ok}{messages} && @{ $_->{ok}{messages} } } @results),
       32, 'much work: all of it is done');
    is_deeply([ map { $_->{ok}{offset} } @results[map { $_ * 2 + 1 } 0 .. 31] ],
              [ 1 .. 32 ], 'in order');
};


subtest 'autojoin' => sub {
    my ($more, $before, $ws) = when_served('joins',
        sub { Fanout::Socket->open(port => $nginx->port) },
        sub {
            $_[0]->send_bytes("GET /auto HTTP/1.1\r\nHost: localhost\r\n"
                              . "Connection: Upgrade\r\n"
                              . "Upgrade: websocket\r\n"
                              . "Sec-WebSocket-Version: 13\r\n"
                              . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
                              . "\r\n\r\n");
        });

    cmp_ok($more, '<', 700, "channels joined before another is served: $more");
    ok(wait_for(sub { worker()->{joins} >= $before + $n }), 'all are joined');

    # and left, in turns as well

    $ws->cut;

    ($more, $before) = when_served('leaves', sub {
        my $ws = $nginx->native(path => '/auto');

        $ws->cmd(ping => ());

        return $ws;
    }, sub { $_[0]->cut });

    cmp_ok($more, '<', 700, "channels left before another is served: $more");
    ok(wait_for(sub { worker()->{leaves} >= $before + $n }), 'all are left');
};


subtest 'what autojoin tells' => sub {
    my $ws = $nginx->native(path => '/auto');

    # a command waits for it, and is told in its place

    $ws->send_text('{"id":"last","op":"ping"}');

    my (@joined, $last);

    while (my $m = $ws->recv_message(60)) {
        my $j = Fanout::JSON::decode($m->{payload});

        $last = 1, last if ref $j eq 'HASH' && ($j->{id} // '') eq 'last';

        push @joined, map { $_->{ok}{channel} } grep { $_->{ok} }
                      ref $j eq 'ARRAY' ? @$j : ();
    }

    ok($last, 'the command is answered');
    is_deeply(\@joined, [ map { "auto:$_" } 1 .. $n ],
              'after all joins, in order');
};


subtest 'a session of thousands of channels finds each' => sub {
    my $ws = $nginx->native(path => '/auto');
    my $more = 500;

    $ws->send_bytes(join '', map {
        $ws->frame(1, qq({"id":$_,"op":"join","channel":"more:$_"}))
    } 1 .. $more);
    until_reply($ws, $more);

    # leaves every other, in an order of its own; then joins all again

    my @order = sort { $a * 7919 % 1009 <=> $b * 7919 % 1009 } 1 .. $more;
    my @left = grep { $_ % 2 } @order;

    my $before = worker();

    $ws->send_bytes(join '', map {
        $ws->frame(1, qq({"id":$_,"op":"leave","channel":"more:$_"}))
    } @left, @left);

    my $got = until_reply($ws, $left[-1]);
    $got = until_reply($ws, $left[-1]) if @{ $got->{replies} } < 2 * @left;

    my $after = worker();
    is($after->{leaves} - $before->{leaves}, @left, 'each is left once');

    $ws->send_bytes(join '', map {
        $ws->frame(1, qq({"id":$_,"op":"join","channel":"more:$_"}))
    } @order);
    until_reply($ws, $order[-1]);

    for my $i (1 .. $more) {
        $http->post("/api/channels/more:$i/messages", $i);
    }

    $ws->send_text('{"id":"last","op":"ping"}');

    my @told = @{ until_reply($ws, 'last')->{told} };

    while (@told < $more && (my $m = $ws->recv_message(60))) {
        push @told, map { $_->{data} // () }
                        Fanout::JSON::decode($m->{payload});
    }

    is_deeply(\@told, [ 1 .. $more ], 'and joined once');
};


subtest 'a worker that shuts down' => sub {
    my $ws = $nginx->native(path => '/auto');
    my $now = $nginx->native(path => '/now');

    $ws->send_text('{"id":"last","op":"ping"}');

    at_once(sub { $now->send_text(array_of('kept', 20000)) },
            sub { kill QUIT => $pid });

    my $replies = 0;

    while (my $m = $now->recv_message(60)) {
        my $j = Fanout::JSON::decode($m->{payload});

        $replies += @$j if ref $j eq 'ARRAY';
    }

    ok(wait_for(sub { (($nginx->worker_pids)[0] // $pid) != $pid }), 'another comes');

    my $last = $http->get('/api/channels/kept/messages?limit=1')
                    ->json->{messages}[0]{data};

    is($replies, $last =~ /^2\d{4}$/ ? ($last - 20000) / 64 : 0,
       "what was done of an array is answered: $replies of 64");
    ok($ws->wait_close(60), 'and it ends');
};


done_testing();
