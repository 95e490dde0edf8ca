#!/usr/bin/env perl

# Long polls: if this fails, a client that can hold nothing open, a script with
# curl or a phone behind a strict proxy, misses messages between its polls,
# gets them twice, or waits for nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::Client;
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => 'fanout_zone app 32m;
             fanout_channel app none* history=0;
             fanout_channel app few* history=5;
             fanout_channel app who* presence=on history=100 linger=60s
                                     batch=10ms;
             fanout_channel app * history=10000 ttl=1h;',
    server => <<'END',
        fanout_permit all *;
        fanout_drain 300ms;
        location /rt   { fanout app; fanout_poll_timeout 10m; }
        location /soon { fanout app; fanout_poll_timeout 200ms; }
        location /user { fanout app; fanout_permit join,history open:*; }
        location /small { fanout app; fanout_buffer 4k; }
        location /tiny { fanout app; fanout_buffer 1k; }
        location /many {
            fanout app;
            fanout_channels_per_session 1000;
            fanout_budget off;
        }
        location /no   { fanout app; fanout_transports websocket sse post; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;


sub publish {
    my ($channel, @data) = @_;

    for (@data) {
        my $r = $http->post("/fanout/channels/$channel/messages", qq("$_"));
        die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;
    }
}


sub poll {
    my ($query, %o) = @_;

    my $path = delete $o{path} || '/rt';
    my $r = ($o{http} || $http)->get("$path?poll=1&$query", timeout => 20);

    die "poll: $r->{status} $r->{body}\n" if $r->{status} != 200;

    return ($r->json, $r->{headers}{'fanout-position'}, $r);
}


sub data { join ' ', map { $_->{data} // '?' } @{ $_[0] } }


subtest 'a first poll' => sub {
    publish('a', 1 .. 5);

    my ($got, $at, $r) = poll('channel=a');

    is($got->[0]{ok}{channel}, 'a', 'answers at once');
    is($got->[0]{ok}{offset}, 5, 'where the channel is');
    is(@$got, 1, 'and no more');
    like($at, qr/^[0-9a-f]+\.\d+$/, 'with a position');
    like($r->{headers}{'content-type'}, qr{^application/json}, 'as JSON');
    is($r->{headers}{'cache-control'}, 'no-store', 'that nobody keeps');

    ($got, $at) = poll('channel=a&history=3');
    is($got->[0]{ok}{offset}, 2, 'with history: where it begins');
    is(data([ @$got[1 .. $#$got] ]), '3 4 5', 'and it');

    publish('a', 6);
    is(data((poll("channel=a&since=$at"))[0]), '6', 'the next has the rest');
};


subtest 'between polls' => sub {
    my (undef, $at) = poll('channel=a&channel=b');
    my $got;

    publish('a', 7); publish('b', 8); publish('a', 9);
    ($got, $at) = poll("channel=a&channel=b&since=$at");
    is(join(' ', sort map { $_->{data} } @$got), '7 8 9', 'what was said');

    publish('b', 10);
    my ($again, $next) = poll("channel=a&channel=b&since=$at");
    ($again) = poll("channel=a&channel=b&since=$at");
    is(data($again), '10', 'an answer that was lost can be had again');

    ($got) = poll("channel=a&channel=b&since=$next&timeout=0", path => '/rt');
    is_deeply($got, [], 'nothing: an empty array');

    ($got, my $same) = poll("channel=a&since=$next", path => '/soon');
    is_deeply($got, [], 'when the time of the location is over');

    ($got, $same) = poll("channel=a&since=$next&timeout=3600",
                         path => '/soon');
    is_deeply($got, [], 'which a client can\'t prolong');
    ok($same, 'with a position to go on from');
};


subtest 'an epoch that is none' => sub {
    publish('made', 1 .. 3);

    for my $transport (Fanout::Client->transports) {
        for my $epoch ('another', '0', '', 'x' x 128, "\x{e4}:1") {
            my $client = Fanout::Client->open($nginx, $transport, '/rt', joins => [
                { channel => 'made', since => { epoch => $epoch, offset => 1 } }
            ]);

            is($client->joined('made')->{recovered}, Fanout::JSON::false,
               "$transport: not recovered, and no error");
            $client->cut;
        }
    }
};


# A poll is answered once, with all members: an entry of some size must not
# make a channel one that nobody can read.

subtest 'large members' => sub {
    my $ann = $nginx->native(path => '/rt', worker => $one);

    my $get = sub {
        my ($path, $channel, $more) = @_;

        my $join = Fanout::JSON::encode({ channel => $channel, %{ $more || {} } });
        $join =~ s/([^\w])/sprintf '%%%02X', ord $1/ge;

        return $nginx->http(worker => $one)
            ->get("$path?poll=1&join=$join", timeout => 20);
    };

    my $members = sub {
        map { @{ ($_->{part} || $_->{ok} || {})->{members} || [] } }
            map { ref $_ eq 'ARRAY' ? @$_ : $_ } @{ $_[0]->json };
    };

    $ann->ok('join', channel => 'who1', presence => { x => 'm' x 2800 });

    for my $path ('/small', '/tiny') {
        my $r = $get->($path, 'who1');
        is($r->{status}, 200, "$path: one that is more than half, or all, of "
                              . "fanout_buffer");
        my ($m, @more) = $members->($r);
        is(length $m->{data}{x}, 2800, 'is told');
        is(@more, 0, 'once');
    }

    my $bob = $nginx->native(path => '/rt', worker => $two);
    $bob->ok('join', channel => 'who2', presence => { n => $_ }, key => "k$_")
        for 1 .. 20;

    my $r = $get->('/small', 'who2');
    is($r->{status}, 200, 'many, more than half of it');
    is(join(' ', sort { $a <=> $b } map { $_->{data}{n} } $members->($r)),
       join(' ', 1 .. 20), 'are told');

    # by a worker that has to read who is there, while there is a history

    publish('who3', ('h' x 500) x 10);
    $bob->ok('join', channel => 'who3', presence => { n => 1 });

    $r = $get->('/small', 'who3', { history => 10 });
    is($r->{status}, 200, 'with a history of more');
    is(join(' ', map { $_->{data}{n} } $members->($r)), 1, 'they are told');

    $bob->ok('join', channel => 'who2', presence => { n => $_ }, key => "k$_")
        for 21 .. 30;
    $r = $get->('/small', 'who2');
    is($r->{status}, 413, 'more than that');
    like($r->json->{error}{message}, qr/fanout_buffer/, 'is refused, and why');
};


subtest 'a poll that waits' => sub {
    my (undef, $at) = poll('channel=wait');

    my @clients = map {
        my $s = $nginx->http(worker => $_)->connection;
        $s->send_bytes("GET /rt?poll=1&channel=wait&since=$at HTTP/1.1\r\n"
                       . "Host: x\r\n\r\n");
        $s;
    } $one, $two;

    ok(wait_for(sub {
        my $status = $http->get('/status')->json;
        my $n = 0;
        $n += $_->{sessions} for @{ $status->{workers} };
        return $n == 2;
    }), 'both are held') ;

    publish('wait', 'now');

    for my $s (@clients) {
        1 while ${ $s->buffer } !~ /\]\n$/ && $s->fill(10);
        like(${ $s->buffer }, qr/"data":"now"/, 'answered when there is one');
        unlike(${ $s->buffer }, qr/^Connection: close/m, 'and kept alive');
    }

    ok(wait_for(sub {
        my $status = $http->get('/status')->json;
        return !grep { $_->{sessions} } @{ $status->{workers} };
    }), 'nothing of it is left');

    (undef, $at) = poll('channel=gone');

    my $gone = $nginx->http(worker => $one)->connection;
    $gone->send_bytes("GET /rt?poll=1&channel=gone&since=$at HTTP/1.1\r\n"
                      . "Host: x\r\n\r\n");
    ok(wait_for(sub {
        grep { $_->{sessions} } @{ $http->get('/status')->json->{workers} }
    }), 'one more');
    $gone->cut;
    ok(wait_for(sub {
        !grep { $_->{sessions} } @{ $http->get('/status')->json->{workers} }
    }), 'is forgotten when its client goes');
};


subtest 'what is not kept is told' => sub {
    my (undef, $at) = poll('channel=few&channel=none');

    publish('few', 1 .. 7);
    my ($got, $next) = poll("channel=few&channel=none&since=$at");

    is(@$got, 1, 'at once');
    is($got->[0]{ok}{channel}, 'few', 'which channel');
    is($got->[0]{ok}{recovered}, Fanout::JSON::false, 'has moved on');

    publish('few', 8);
    is(data((poll("channel=few&channel=none&since=$next"))[0]), '8',
       'and it goes on');
};


subtest 'much' => sub {
    my (undef, $at) = poll('channel=much&channel=more');

    publish('much', 'x' x 500 . $_) for 1 .. 60;
    publish('more', 'x' x 500 . $_) for 1 .. 60;

    my (%next, $polls, $wrong);
    $wrong = 0;

    while (($next{much} || 0) + ($next{more} || 0) < 120) {
        my ($got, $then) = poll("channel=much&channel=more&since=$at",
                                path => '/small');
        last if ++$polls > 200 || !@$got;
        $wrong += $_->{offset} != ++$next{ $_->{channel} } for @$got;
        $at = $then;
    }

    is($next{$_}, 60, "all of \"$_\"") for 'much', 'more';
    is($wrong, 0, 'once, in order');
    cmp_ok($polls, '>', 2, 'in pieces');
};


subtest 'over a crash and a reload' => sub {
    my (undef, $at) = poll('channel=crash');
    my ($said, $seen, $wrong) = (0, 0, 0);

    my $read = sub {
        while ($seen < $said) {
            my ($got, $next) = eval {
                poll("channel=crash&since=$at", http => $nginx->http);
            };
            next if !$got;
            last if !@$got;
            $wrong += $_->{offset} != ++$seen for @$got;
            $at = $next;
        }
    };

    for my $round (1 .. 3) {
        publish('crash', ++$said) for 1 .. 5;
        $nginx->kill_worker(($nginx->worker_pids)[ $round % 2 ]);
        publish('crash', ++$said) for 1 .. 5;
        $read->();
    }

    my $s = $nginx->http->connection;
    $s->send_bytes("GET /rt?poll=1&channel=crash&since=$at HTTP/1.1\r\n"
                   . "Host: x\r\n\r\n");
    wait_for(sub {
        grep { $_->{sessions} } @{ $http->get('/status')->json->{workers} }
    });

    $nginx->reload;
    1 while ${ $s->buffer } !~ /\]\n$/ && $s->fill(10);
    like(${ $s->buffer }, qr/\r\n\r\n\[\]\n$/, 'a reload answers what waits');
    like(${ $s->buffer }, qr/^Connection: close/m, 'and ends the connection');
    like(${ $s->buffer }, qr/^Fanout-Position: \Q$at\E\r$/m,
         'where it stands');

    publish('crash', ++$said) for 1 .. 5;
    $read->();

    is($seen, $said, 'all is seen');
    is($wrong, 0, 'once, in order');
};


# It leaves them in several turns, and its time is over meanwhile.

subtest 'a poll of many channels is not the last of its connection' => sub {
    my $http  = $nginx->http;
    my $query = join '&', 'poll=1', 'timeout=0',
                          map { "channel=$_" } 1 .. 500;

    for (1 .. 3) {
        my $r = eval { $http->get("/many?$query", timeout => 20) };

        is($r ? $r->{status} : $@, 200, 'answered');
    }
};


subtest 'refused' => sub {
    for ([ '/rt?poll=1', 400, qr/"channel"/ ],
         [ '/rt?poll=2&channel=a', 400, qr/"poll"/ ],
         [ '/rt?poll=1&channel=a&since=x', 400, qr/position/ ],
         [ '/rt?poll=1&channel=a&timeout=x', 400, qr/"timeout"/ ],
         [ '/user?poll=1&channel=b', 403, qr/fanout_permit join/ ],
         [ '/no?poll=1&channel=a', 403, qr/fanout_transports/ ])
    {
        my ($path, $status, $why) = @$_;
        my $r = $nginx->http->get($path);

        is($r->{status}, $status, $path);
        like($r->json->{error}{message}, $why, 'says why');
    }
};
