#!/usr/bin/env perl

# The server closes a session while an array of commands waits. If this fails, a
# client does not learn what became of commands that were done; or a backend
# that answers for a session which is over takes the worker with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::H2;
use Fanout::HookBackend;
use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Nginx;


# what was freed is not what it was

$ENV{MALLOC_PERTURB_} = 165;

my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $backend = Fanout::HookBackend->start;

my $location = 'location /realtime {
                    fanout app; fanout_permit all *; fanout_ping 10m;
                    fanout_channels_per_session 200;
                }';

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        upstream hooks { server 127.0.0.1:@{[ $backend->port ]}; }

        fanout_zone app 16m; fanout_rate off; fanout_budget off;
        fanout_drain 100ms;
        fanout_channel app ask:* hooks=on history=100;
        fanout_channel app room:* hooks=off presence=on batch=10s;
        fanout_channel app brief:* hooks=off history=0;
        fanout_channel app * hooks=off history=100;
END
    server => <<"END",
        $location
        location /api/ { fanout_api app; }
        location /hooks/ { internal; proxy_pass http://hooks; }
        fanout_hook app /hooks/app publish timeout=30s;
END
    servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on $location }",
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http(worker => $two);
my $n    = 0;
my @there;


# what waits

my %waits = (
    backend => { op => 'publish', data => { hold => 'late' } },
    members => { op => 'join', presence => {} },
);


sub waiting {
    my ($what, $channel) = @_;

    return { id => 'w', channel => ($what eq 'members' ? 'room' : 'ask')
                                   . ":$channel", %{ $waits{$what} } };
}


# The array: a command that is done, one that waits, one that is not begun.

sub begin {
    my ($what, $channel) = @_;

    my $ws = $nginx->native(worker => $one);

    $ws->ok('join', channel => "brief:$channel");

    if ($what eq 'members') {
        # one change is told at once, the next one after batch=
        push @there, $nginx->native(worker => $two);
        $there[-1]->ok('join', channel => "room:$channel", presence => {});
    }

    $backend->forget;
    $ws->send_json([
        { id => 'a', op => 'publish', channel => $channel, data => 1 },
        { id => 'b', op => 'nonsense' },
        waiting($what, $channel),
        { id => 'c', op => 'publish', channel => $channel, data => 2 },
    ]);

    wait_for(sub { history($channel) == 1 });
    $backend->wait_calls(1) if $what eq 'backend';

    $http->post("/api/channels/brief:$channel/messages", '"withheld"',
                headers => { 'Content-Type' => 'application/json' });

    return $ws;
}


sub history {
    my $r = $http->get("/api/channels/$_[0]/messages");

    return $r->{status} == 200 ? scalar @{ $r->json->{messages} } : 0;
}


sub kick {
    my ($ws) = @_;

    my $r = $http->delete('/api/clients/' . $ws->client);
    die "not disconnected: $r->{body}" if $r->{status} != 200;
}


# All frames until the close, and its code.

sub rest {
    my ($ws) = @_;

    my @frames;

    while (defined(my $text = $ws->recv_text(15))) {
        push @frames, Fanout::JSON::decode($text);
    }

    return (\@frames, $ws->close_code);
}


sub outcome {
    my ($reply) = @_;

    return "$reply->{id} " . ($reply->{error} ? $reply->{error}{code} : 'ok');
}


my %closes = (
    'the API'    => [ 4403, \&kick ],
    'a takeover' => [ 4409, sub {
        $nginx->native(resume => $_[0]->resume);
    } ],
);

for my $why (sort keys %closes) {
    my ($code, $close) = @{ $closes{$why} };

    for my $what (sort keys %waits) {
        subtest "$why, waiting for $what" => sub {
            my $channel = 'c' . ++$n;
            my $ws = begin($what, $channel);

            my $new = $close->($ws);
            my ($frames, $closed) = rest($ws);

            is($closed, $code, "closed by $code");
            is(ref $frames->[0], 'ARRAY', 'before it, the replies')
                or return diag(explain($frames));

            my @replies = map { outcome($_) } @{ shift @$frames };

            is_deeply([ @replies[0, 1] ], [ 'a ok', 'b unknown_op' ],
                      'of the commands that are done');

            if ($what eq 'members' && @replies == 4) {
                # the join was refused before the worker knew of the close
                is(history($channel), 2, 'all are done');
                return;
            }

            is(@replies, 2, 'and of no others');
            is(history($channel), 1, 'which are not done');
            is_deeply([ map { $_->{data} } @$frames ],
                      $what eq 'backend' ? [ 'withheld' ] : [],
                      'then what waited for them');
        };
    }
}


# The worker stands still meanwhile: the events reach it in one turn, in their
# order.

sub in_one_turn {
    my (@steps) = @_;

    $nginx->signal($one, 'STOP');

    for my $step (@steps) {
        $step->();
        select undef, undef, undef, 0.3;
    }

    $nginx->signal($one, 'CONT');
}



# The session ends, and the answer comes before it is released: others with many
# channels are released first.

sub crowd {
    my @crowd = map { $nginx->native(worker => $one) } 1 .. 3;

    for my $i (0 .. $#crowd) {
        for my $half (0, 1) {
            $crowd[$i]->batch(map { { op => 'join',
                                      channel => "crowd$i:$half:$_" } }
                              1 .. 60);
        }
    }

    return @crowd;
}


sub held {
    my ($name) = @_;

    return { id => 'h', op => 'publish', channel => 'ask:turn',
             data => { hold => $name } };
}


my %gone = (
    'WebSocket' => sub {
        my ($commands) = @_;

        my $ws = $nginx->native(worker => $one);
        $ws->send_json($commands);

        return sub { $ws->cut };
    },
    'POST' => sub {
        my ($commands) = @_;

        my $c = $nginx->http(worker => $one);
        $c->connection->send_bytes($c->format_request(POST => '/realtime',
            body    => Fanout::JSON::encode($commands),
            headers => { 'Content-Type' => 'application/json' }));

        return sub { $c->socket->cut };
    },
    'HTTP/2' => sub {
        my ($commands) = @_;

        my $body = Fanout::JSON::encode($commands);
        my $c;

        my $socket = $nginx->on_worker($one, sub {
            $c = Fanout::H2->connect(port => $nginx->port('PORT1'));
            return $c->{s};
        });

        $c->headers(1, 4, ':method' => 'POST', ':scheme' => 'http',
                    ':authority' => 'localhost', ':path' => '/realtime',
                    'content-type' => 'application/json');
        $c->send(Fanout::H2::frame(0, 1, 1, $body));

        return sub { $socket->cut };
    },
);

for my $way (sort keys %gone) {
    for my $first ('answer', 'end') {
        for my $array (0, 1) {
            my $name = 'gone' . ++$n;

            subtest "$way: $first first, " . ($array ? 'array' : 'one') => sub {
                my $bystander = $nginx->native(worker => $one);
                my $before = history('ask:turn');
                my @crowd = crowd();

                $backend->forget;
                my $end = $gone{$way}->($array ? [ held($name),
                                                   { id => 2, op => 'ping' } ]
                                               : held($name));
                $backend->wait_calls(1);

                my @steps = (sub { $backend->let($name) },
                             sub { $_->cut for @crowd; $end->() });

                in_one_turn($first eq 'end' ? reverse @steps : @steps);

                ok(wait_for(sub { history('ask:turn') == $before + 1 }),
                   'the publish is made');
                ok($bystander->ok('ping'), 'and the worker lives');
            };
        }
    }
}


# the last: the workers leave

subtest 'a worker leaves' => sub {
    my ($ws) = map { begin('backend', "left$_") } 1;
    my $late = $nginx->http(worker => $one);
    my $cut  = $nginx->http(worker => $one);

    $backend->forget;

    for my $c ([ $late, { id => 'a', op => 'ping' } ], [ $cut ]) {
        my ($post, @done) = @$c;

        $post->connection->send_bytes($post->format_request(
            POST => '/realtime',
            body => Fanout::JSON::encode([
                @done, waiting('backend', 'post'), { id => 'c', op => 'ping' }
            ]),
            headers => { 'Content-Type' => 'application/json' },
        ));
    }

    $backend->wait_calls(1);
    $nginx->reload;

    my ($frames, $closed) = rest($ws);

    is($closed, 1012, 'WebSocket: closed for a restart');
    is_deeply([ map { outcome($_) } @{ shift @$frames } ],
              [ 'a ok', 'b unknown_op' ], 'first the replies');
    is((shift @$frames)->{data}, 'withheld', 'then what waited for them');
    ok($frames->[0]{closing}, 'then "closing"');

    my $r = $late->read_response(timeout => 15);

    is($r && $r->{status}, 200, 'POST: answered') or return;
    is_deeply([ map { outcome($_) } @{ $r->json } ], [ 'a ok' ],
              'with the replies so far');
    is(eval { $cut->read_head(15) }, undef, 'without replies, it is cut');

    $backend->let('late');
    ok($nginx->wait_gone(20, $one, $two), 'the workers have gone');
};

done_testing();
