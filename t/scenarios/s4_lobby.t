#!/usr/bin/env perl

=head1 NAME

s4_lobby.t - scenario 4: a lobby, where people find each other

=head1 WHAT BREAKS

Somebody writes to one who is not there any more and is not told, sees people
who have gone, misses people who are there, or sees everybody flap each time a
phone changes its network.

=head1 THE CONFIGURATION

The lobby is one channel. Who comes in is a member, and a message to another is
a publish with C<to> on that channel.

    fanout_channel app lobby presence=on linger=10s batch=20ms history=100;

The channels C<brief*> and C<soon*> are the same with less patience, so that
somebody who doesn't come back is shown to have left while the test can wait for
it. NGINX has three workers.

=head1 THE LINES

Each line of the scenario's table is a subtest, named after it. What the page
does is done by the class Lobby at the end: the list, the selection, and what
is shown. The time in which a change arrives is told and not tested: that is
the figure "join" of the benchmark. SEED=n repeats the steps of line 2,
ROUNDS=n does more of them.

=cut

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw( max shuffle sum );
use Fanout::Elapsed qw( time );
use Fanout::Crowd;
use Fanout::JSON;
use Fanout::Nginx;


my $many  = $ENV{TEST_SANITIZE} ? 300 : 1000;
my $brief = $ENV{TEST_SANITIZE} ? 10 : 3;
my $seed  = $ENV{SEED} // int(time * 1000) % 2 ** 31;

srand $seed;
diag("SEED=$seed");

my $nginx = Fanout::Nginx->start(
    workers => 3,
    level   => 'warn',
    main    => 'worker_rlimit_nofile 8000;',
    events  => 'worker_connections 4000;',
    http    => <<"END",
        fanout_zone app 32m; fanout_rate off; fanout_budget off;
        fanout_channel app brief* presence=on linger=${brief}s history=100;
        fanout_channel app soon*   presence=on linger=1s batch=20ms;
        fanout_channel app churn   presence=on linger=3s batch=10ms;
        fanout_channel app *  presence=on linger=10s batch=20ms history=100;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% backlog=4096;

        location /rt {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_resume 1m;
            fanout_drain 1s;
        }
        location /fanout/ { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;

sub lobby { Lobby->new($nginx, @_) }

# all take what comes until it is true

sub settle {
    my ($who, $condition, $timeout) = @_;

    return wait_for(sub {
        $_->pump for @$who;
        return $condition->();
    }, $timeout // 20);
}

sub no_faults {
    is_deeply([ map { $_->faults } @_ ], [], 'nobody was told what can\'t be');
}

# behind what all were told before

sub barrier {
    my ($from, @others) = @_;

    my $text = 'barrier ' . ++$from->{barriers};

    $from->put('publish', data => $text);
    ok(settle([ $from, @others ], sub {
        !grep { !$_->heard($text) } $from, @others;
    }), 'something that comes behind it');
}

# who is there, as the server says

sub server_list {
    my ($channel) = @_;

    my ($cursor, @ids) = ('');

    for (1 .. 20) {
        my $r = $http->get("/fanout/channels/$channel/presence?limit=1000"
                           . ($cursor && "&cursor=$cursor"))->json;

        push @ids, map { $_->{client} } @{ $r->{members} };
        $cursor = $r->{cursor} or last;
    }

    return [ sort @ids ];
}


subtest 'line 1: joins and leaves are pushed, as deltas of the same size' =>
sub {
    my ($one, $two) = $nginx->worker_pids;
    my @eyes = map { lobby('lobby', "eye$_->[0]", worker => $_->[1]) }
               [ 1, $one ], [ 2, $two ];
    my $crowd = Fanout::Crowd->start($nginx, clients => $many,
                                     channel => 'lobby');
    my %bytes;

    for my $n (2, 2 + $many) {
        if ($n > 2) {
            my $r = $crowd->act("open 0 $many member");
            ok($r->{ok}, "$many more come in") or diag($r->{why});
        }

        ok(settle(\@eyes, sub { !grep { $_->count != $n } @eyes }),
           "$n are seen");
        $_->news for @eyes;

        my $from = time;
        my $ann  = lobby('lobby', 'ann', worker => $two);

        is($ann->count, $n + 1, 'the new one has the whole list');
        ok(settle(\@eyes, sub { !grep { !$_->sees($ann) } @eyes }),
           'the others are told that it came');
        diag(sprintf '%d in the lobby: told within %.1f ms with the connect',
             $n, 1000 * (time - $from));
        push @{ $bytes{joined} }, max map { $_->{bytes} } @eyes;

        $ann->leave;
        ok(settle(\@eyes, sub { !grep { $_->sees($ann) } @eyes }),
           'and that it left');
        push @{ $bytes{left} }, max map { $_->{bytes} } @eyes;

        for (@eyes) {
            my @news = $_->news;

            is_deeply([ map { [ $_->[0], $_->[1]{user} ] } @news ],
                      [ [ joined => 'ann' ], [ left => 'ann' ] ],
                      'told of that and nothing else');
            is($news[1][1]{reason}, 'intentional', 'with the reason')
                if @news == 2;
        }
    }

    # offsets and slots have more digits

    for (qw( joined left )) {
        my ($few, $full) = @{ $bytes{$_} };

        cmp_ok($full, '<=', $few + 16, "\"$_\": $few bytes, $full in the full "
                                       . 'lobby');
    }

    is($_->{asked}, 1, 'none has asked for anything but to come in') for @eyes;

    $crowd->act("bye 0 $many");
    ok(settle(\@eyes, sub { !grep { $_->count != 2 } @eyes }),
       "$many leave, and are seen to");
    is_deeply(server_list('lobby'), [ sort map { $_->id } @eyes ],
              'the server says so too');
    no_faults(@eyes);

    $crowd->stop;
    $_->close for @eyes;
};


subtest 'line 2: the server is the single source of truth, after churn' => sub {
    my $rounds = $ENV{ROUNDS} || 150;
    my @all    = map { lobby('churn', "u$_") } 1 .. 24;
    my %count;

    my $now = sub { settle(\@all, sub { !grep { !$_->idle } @all }) };

    my %deed = (
        turn   => sub { $_[0]{in} ? $_[0]->leave : $_[0]->come },
        say    => sub {
            $_[0]->put('presence', data => { n => $_[1] }) if $_[0]{in};
        },
        cut    => sub { $_[0]->cut; $_[0]->back },
        reopen => sub { my $in = $_[0]{in}; $_[0]->close; $_[0]{in} = $in;
                        $_[0]->back },
    );
    my @deck = (('turn') x 13, ('say') x 4, ('cut') x 2, 'reopen');

    for my $round (1 .. $rounds) {
        for my $who ((shuffle @all)[0 .. 13]) {
            my $what = $deck[ rand @deck ];

            $count{$what}++;
            $deed{$what}->($who, $round);
        }

        # a worker dies while they are at it, or all are replaced

        if ($round % 50 == 25) {
            kill 'KILL', ($nginx->worker_pids)[ rand 3 ];
            $nginx->allow(qr/exited on signal 9/);
            $count{kill}++;
        }

        if ($round % 75 == 50) {
            $nginx->reload;
            $count{reload}++;
        }

        last if !$now->() && fail("all have their replies in round $round");
    }

    diag(join ', ', map { "$_ $count{$_}" } sort keys %count);

    # those who say nothing any more are shown to have left after the linger
    # time: all others, and nobody else, are there

    my @in     = grep { $_->{in} } @all;
    my $should = [ sort map { $_->id } @in ];

    cmp_ok(@in, '>', 2, @in . ' are in the lobby');
    settle(\@all, sub {
        $now->();
        "@{ server_list('churn') }" eq "@$should"
        && !grep { "@{ $_->ids }" ne "@$should" } @in;
    });

    $should = [ sort map { $_->id } @in ];
    is_deeply(server_list('churn'), $should, 'the server lists just those');
    is_deeply($_->ids, $should, "$_->{user} sees just those") for @in;

    my $new = lobby('churn', 'new');

    is_deeply($new->ids, [ sort @$should, $new->id ], 'as does a new one');
    no_faults(@all);
    $_->close for @all, $new;
};


subtest 'line 3: to someone who just left: "recipient went offline"' => sub {
    my @pids = $nginx->worker_pids;

    for my $where ([ 0, 0 ], [ 0, 1 ]) {
        my $at  = "lobby:@$where[0]$where->[1]";
        my $ann = lobby($at, 'ann', worker => $pids[ $where->[0] ]);
        my $bob = lobby($at, 'bob', worker => $pids[ $where->[1] ]);
        my $eve = lobby($at, 'eve');

        ok(settle([ $ann ], sub { $ann->sees($bob) }), 'ann sees bob');
        $ann->select($bob);
        is($ann->selected, $bob->id, 'and selects him');
        is($ann->write_to('hello'), 'sent', 'he is there');
        ok(settle([ $bob ], sub { @{ $bob->{mail} } }), 'and gets it');
        is_deeply([ $bob->mail ], [ 'hello' ], 'just that');

        # ann has not been told yet: it is the server that knows

        $bob->{wire}->reply($bob->leave);
        is($ann->write_to('too late', to => { client => $bob->id }),
           'recipient went offline', 'he has left the lobby');

        $bob->enter;
        is($ann->write_to('again', to => { client => $bob->id }), 'sent',
           'he comes back in');

        # the answer to the close comes when the session is gone

        my $id = $bob->id;
        $bob->close;
        is($ann->write_to('gone', to => { client => $id }),
           'recipient went offline', 'he has closed the application');
        is($ann->write_to('gone', to => { user => 'bob' }),
           'recipient went offline', 'by the name of the user too');
        is($ann->write_to('who', to => { client => 'c_0123456789abcdef' }),
           'recipient went offline', 'as one who never was there');

        my $new = lobby($at, 'bob');
        is($ann->write_to('gone', to => { client => $id }),
           'recipient went offline', 'a new bob is not the one selected');
        is($ann->write_to('hi', to => { user => 'bob' }), 'sent',
           'but he can be written to');

        barrier($ann, $eve, $new);
        is_deeply([ $new->mail ], [ 'hi' ], 'gets what was sent to him only');
        is_deeply([ $eve->mail ], [], 'nobody else sees any of it');

        my $kept = $http->get("/fanout/channels/$at/messages")->json;
        is_deeply([ map { $_->{data} } @{ $kept->{messages} } ],
                  [ 'barrier 1' ], 'nothing of it is kept');

        no_faults($ann, $bob, $eve, $new);
        $_->close for $ann, $eve, $new;
    }

    # the network of the other breaks: kept for him while he may come back

    my $ann = lobby('soon:3', 'ann');
    my $bob = lobby('soon:3', 'bob');

    $ann->pump;
    ok(settle([ $ann ], sub { $ann->sees($bob) }), 'ann sees bob');
    $ann->select($bob);
    $bob->cut;

    ok(wait_for(sub {
        $ann->write_to('now', live => Fanout::JSON::true())
            eq 'recipient went offline';
    }), 'the network of bob breaks: offline, if only now is good enough');

    ok(settle([ $ann ], sub { !$ann->sees($bob) }), 'he does not come back');
    is($ann->write_to('lost', to => { client => $bob->id }),
       'recipient went offline', 'offline');
    no_faults($ann);
    $ann->close;
};


subtest 'line 4: brief disconnections don\'t show' => sub {
    my %breaks = (
        cut  => sub { $_[0]->cut; $_[1]->cut },
        kill => sub {
            $nginx->kill_worker($_[2]);
            $_->cut for @_[0, 1];
        },
    );

    for my $how (qw( cut kill )) {
        my ($one, $two) = $nginx->worker_pids;
        my $at  = "brief:4:$how";
        my $ann = lobby($at, 'ann', worker => $two);
        my $bob = lobby($at, 'bob', worker => $one);
        my $dan = lobby($at, 'dan', worker => $one);

        ok(settle([ $ann, $bob ], sub { $ann->count == 3 && $bob->count == 3 }),
           "$how: three are seen");

        my $was = $ann->sees($bob);

        $_->news for $ann, $bob;
        $breaks{$how}->($bob, $dan, $one);
        is($ann->write_to('while away', to => { client => $bob->id }), 'sent',
           'a message to one who is away for a moment');

        my $eve = lobby($at, 'eve', worker => $two);
        ok($eve->sees($bob), 'who comes in meanwhile sees him');

        my $id = $bob->id;
        $bob->back;
        ok(settle([ $bob ], sub { $bob->idle }), 'he is back');
        ok($bob->{resumed}, 'resumed');
        is($bob->id, $id, 'as the same');
        is_deeply([ $bob->mail ], [ 'while away' ], 'with the message');
        ok($bob->sees($eve), 'sees who came meanwhile');

        # dan was cut after him and does not come back: when that is shown, bob
        # would have been shown to leave as well

        ok(settle([ $ann, $bob, $eve ], sub {
            !grep { $_->sees($dan) } $ann, $bob, $eve;
        }), 'who does not come back is shown to have left');

        my @news = $ann->news;
        is_deeply([ map { [ $_->[0], $_->[1]{user} ] } @news ],
                  [ [ joined => 'eve' ], [ left => 'dan' ] ],
                  'nothing of bob was shown');
        is($news[-1][1]{reason}, 'network', 'with the reason');
        is($ann->sees($bob)->{joined_at}, $was->{joined_at},
           'he is there since he came');
        is_deeply($_->ids, server_list($at), "$_->{user} sees the same")
            for $ann, $bob, $eve;
        no_faults($ann, $bob, $eve);
        $_->close for $ann, $bob, $eve;
    }

    # every connection ends, one after another

    my @all = map { lobby('lobby:4', "u$_") } 1 .. 6;

    ok(settle(\@all, sub { !grep { $_->count != 6 } @all }), 'six in a lobby');
    $_->news for @all;

    my @before = map { $_->id } @all;
    my @wires  = map { $_->{wire} } @all;

    $nginx->reload;
    ok(settle(\@all, sub {
        !grep { !$all[$_]->idle || $all[$_]{wire} == $wires[$_] } 0 .. $#all;
    }), 'a reload: all come back');
    is_deeply([ map { $_->id } @all ], \@before, 'as the same');
    barrier(@all);
    is_deeply([ map { $_->[0] } map { $_->news } @all ], [],
              'none was shown to leave or to join');
    is($_->count, 6, "$_->{user} sees all") for @all;
    no_faults(@all);
    $_->close for @all;
};


subtest 'line 5: the selected one leaves: told, and selected no more' => sub {
    my $n = 0;

    my %leaves = (
        intentional => sub { $_[0]->leave },
        network     => sub { $_[0]->cut },
        kicked      => sub {
            my $r = $http->delete('/fanout/clients/' . $_[0]->id . '?channel='
                                  . $_[0]{channel});
            is($r->{status}, 200, 'thrown out');
        },
    );

    for my $reason (sort keys %leaves) {
        my $at = "soon:5:$reason";
        my ($ann, $bob, $eve) = map { lobby($at, $_) } qw( ann bob eve );

        ok(settle([ $ann ], sub { $ann->count == 3 }), 'ann sees all');
        $ann->select($bob);
        $ann->news;

        $eve->leave;
        ok(settle([ $ann ], sub { !$ann->sees($eve) }), 'another leaves');
        is($ann->selected, $bob->id, 'the selection stays');
        is_deeply([ map { $_->[0] } $ann->news ], [ 'left' ],
                  'not her concern');

        $leaves{$reason}->($bob);
        ok(settle([ $ann ], sub { !$ann->sees($bob) }), 'the selected leaves');
        is($ann->selected, undef, 'selected no more');

        my @news = $ann->news;
        is_deeply([ map { $_->[0] } @news ], [ qw( left unavailable ) ],
                  'and told');
        is($news[1][1]{user}, 'bob', 'who that was') if @news == 2;
        is($news[1][1]{reason}, $reason, 'and why') if @news == 2;

        no_faults($ann, $eve);
        $_->close for $ann, $eve;
    }

    # who was away is not left with a selection of somebody who has gone

    my ($ann, $bob) = map { lobby('lobby:5', $_) } qw( ann bob );

    ok(settle([ $ann ], sub { $ann->sees($bob) }), 'ann sees bob');
    $ann->select($bob);
    $ann->cut;
    $bob->leave;
    ok(settle([ $bob ], sub {
        "@{ server_list('lobby:5') }" eq $ann->id;
    }), 'he leaves while she is away');
    $ann->back;
    ok(settle([ $ann ], sub { $ann->idle }), 'she comes back');
    is($ann->selected, undef, 'selected no more, once she is back');
    is_deeply([ map { $_->[0] } grep { $_->[1]{user} eq 'bob' } $ann->news ],
              [ qw( joined left unavailable ) ], 'and told');
    no_faults($ann, $bob);
    $_->close for $ann, $bob;
};


subtest 'line 6: clients that are no browsers come in, without Origin' => sub {
    my $port = $nginx->port;
    my $ann  = lobby('lobby:6', 'ann');

    # what a client in Rust says (tungstenite), and one in Python (websockets)

    my %says = (
        rust => [
            [ 'Host', "127.0.0.1:$port" ], [ 'Connection', 'Upgrade' ],
            [ 'Upgrade', 'websocket' ], [ 'Sec-WebSocket-Version', 13 ],
        ],
        python => [
            [ 'Host', "127.0.0.1:$port" ], [ 'Upgrade', 'websocket' ],
            [ 'Connection', 'Upgrade' ], [ 'Sec-WebSocket-Version', 13 ],
            [ 'Sec-WebSocket-Extensions',
              'permessage-deflate; client_max_window_bits' ],
            [ 'User-Agent', 'Python/3.11 websockets/12.0' ],
        ],
    );

    for my $who (sort keys %says) {
        my $ws = $nginx->native(path => "/rt?user=$who",
                                subprotocols => undef,
                                headers => $says{$who});

        is($ws->status, 101, "$who: let in");
        $ws->ok('join', channel => 'lobby:6', presence => {});
        ok(settle([ $ann ], sub {
            grep { $_->{user} eq $who } values %{ $ann->{list} };
        }), 'and seen');
        $ws->close(1000);
    }

    # one that shares nothing with the others

    my $py = python();
    open my $out, '-|', 'python3', '-c', $py, $port or die "python3: $!";
    my @lines;

    ok(settle([ $ann ], sub {
        grep { $_->{user} eq 'snake' } values %{ $ann->{list} };
    }), 'a client in Python is seen');
    my ($snake) = grep { $_->{user} eq 'snake' } values %{ $ann->{list} };

    is($ann->write_to('ssss', to => { client => $snake->{client} }), 'sent',
       'it can be written to') if $snake;
    chomp(@lines = <$out>);
    ok(close $out, 'it ends well');
    is_deeply(\@lines, [ 'members ann snake', 'message ssss' ],
              'having seen who is there, and what was written to it');
    ok(settle([ $ann ], sub { $ann->count == 1 }), 'seen to leave');

    # a page of somebody else is another matter

    for ([ "http://127.0.0.1:$port", 101 ], [ 'http://elsewhere.example', 403 ],
         [ 'null', 403 ])
    {
        my $ws = $nginx->native(path => '/rt', welcome => 0, expect => undef,
            headers => [ [ 'Host', "127.0.0.1:$port" ],
                         [ 'Origin', $_->[0] ] ]);

        is($ws->status, $_->[1], "a page of $_->[0]: $_->[1]");
        $ws->cut;
    }

    no_faults($ann);
    $ann->close;
};


subtest 'line 7: 5,000 rapid operations at once, without a race' => sub {
    my $each = 100;
    my @all  = map { lobby('lobby:7', "u$_") } 1 .. 50;
    my $eye  = lobby('lobby:7', 'eye');
    my %last;

    # all are on their way before anybody reads: a quarter end outside

    for my $i (1 .. $each / 2) {
        for my $n (0 .. $#all) {
            my $c = $all[$n];

            $c->{in} = $i < $each / 2 || $n % 4;
            $c->put('leave');

            if ($c->{in}) {
                $c->put('join', presence => { n => $last{$n} = $i });

            } else {
                $c->put('ping');
            }
        }
    }

    my @in = ($eye, grep { $_->{in} } @all);

    is(@in, 1 + 37, 'some of them will be out in the end');
    is(sum(map { $_->{asked} - 1 } @all), 50 * $each,
       50 * $each . ' are on their way');
    ok(settle([ @all, $eye ], sub { !grep { !$_->idle } @all }, 120),
       'all are answered');

    my $should = [ sort map { $_->id } @in ];

    ok(settle([ @all, $eye ], sub {
        !grep { "@{ $_->ids }" ne "@$should" } @in;
    }), 'all who are in see the same');
    is_deeply(server_list('lobby:7'), $should, 'as the server, and rightly so');
    is_deeply([ map { $eye->sees($all[$_])->{data}{n} }
                grep { $all[$_]{in} } 0 .. $#all ],
              [ map { $last{$_} } grep { $all[$_]{in} } 0 .. $#all ],
              'with what they said last');
    no_faults(@all, $eye);
    $_->close for @all, $eye;
};


sub python { return <<'END' }
import base64, json, os, socket, struct, sys

s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
f = s.makefile("rb")

def send(value):
    text = json.dumps(value).encode()
    mask = os.urandom(4)
    head = struct.pack("!BB", 0x81, 0x80 | len(text))
    s.sendall(head + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(text)))

def recv():
    op, n = f.read(2)
    if n == 126:
        n, = struct.unpack("!H", f.read(2))
    text = f.read(n)
    return json.loads(text) if op == 0x81 else recv()

key = base64.b64encode(os.urandom(16)).decode()
s.sendall(("GET /rt?user=snake HTTP/1.1\r\nHost: lobby.example\r\n"
           "Upgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: " + key + "\r\n"
           "Sec-WebSocket-Version: 13\r\n\r\n").encode())
assert b" 101 " in f.readline()
while f.readline() != b"\r\n":
    pass

recv()["welcome"]
send({"id": 1, "op": "join", "channel": "lobby:6",
      "presence": {"name": "snake"}})
reply = recv()
print("members", *sorted(m["user"] for m in reply["ok"]["members"]))
while True:
    frame = recv()
    if "to" in frame:
        print("message", frame["data"])
        break
s.sendall(b"\x88\x82\0\0\0\0" + struct.pack("!H", 1000))
f.read()
END


done_testing;


# What a page does

package Lobby;

# the name of the user; worker is that of the first connection

sub new {
    my ($class, $nginx, $channel, $user, %o) = @_;

    my $self = bless {
        nginx => $nginx, channel => $channel, user => $user, list => {},
        news => [], said => [], mail => [], faults => [], asked => 0, in => 1,
        bytes => 0, wait => {},
    }, $class;

    $self->open(%o);

    return $self;
}


sub id     { $_[0]{client} }
sub faults { @{ $_[0]{faults} } }
sub count  { scalar keys %{ $_[0]{list} } }
sub sees   { $_[0]{list}{ $_[1]->id } }
sub ids    { [ sort keys %{ $_[0]{list} } ] }
sub news   { splice @{ $_[0]{news} } }
sub mail   { splice @{ $_[0]{mail} } }
sub idle   { $_[0]{wire} && !$_[0]{stale} && !%{ $_[0]{wait} } }
sub heard  { scalar grep { $_ eq $_[1] } @{ $_[0]{said} } }

sub fault {
    my ($self, $text) = @_;

    push @{ $self->{faults} }, "$self->{user}: $text";
}


# Connects, or comes back, and into the lobby

sub open {
    my ($self, %o) = @_;

    my $wire = $self->{nginx}->client('Lobby::Wire', 'connect',
        path => "/rt?user=$self->{user}", %o,
        $self->{resume} ? (resume => $self->{resume}) : ());

    @$self{qw( wire client resume wait stale )} =
        ($wire, $wire->client, $wire->resume, {}, 0);
    $self->{resumed} = $wire->welcome->{resumed};
    $wire->{lobby} = $self;

    $self->enter if !$o{later};

    return $self;
}


sub enter {
    my ($self) = @_;

    my $id = $self->come;

    $self->{wire}->reply($id, 20);
    $self->fault('not let in') if $self->{wait}{$id};
}


sub come {
    my ($self) = @_;

    $self->{in} = 1;

    return $self->put('join', presence => { name => $self->{user} },
        $self->{epoch} && $self->{resume}
            ? (since => { epoch => $self->{epoch}, offset => $self->{offset} })
            : ());
}


sub leave {
    my ($self) = @_;

    $self->{in} = 0;

    return $self->put('leave');
}


sub put {
    my ($self, $op, %members) = @_;

    my $id = $self->{wire}->send_cmd($op,
        $op eq 'ping' ? () : (channel => $self->{channel}), %members);

    $self->{wait}{$id} = $op;
    $self->{asked}++;

    return $id;
}


sub cut {
    my ($self) = @_;

    $self->{wire}->cut;
    delete $self->{wire};
}


sub close {
    my ($self) = @_;

    $self->{wire}->close(1000);
    delete @$self{qw( wire resume epoch )};
    $self->{in} = 0;
}


# Takes what has come; comes back if the connection has ended

sub pump {
    my ($self) = @_;

    my $wire = $self->{wire} or return;

    $wire->read_until(sub { 0 }, 0);

    if ($wire->eof || defined $wire->close_code) {
        delete $self->{wire};
        $self->back;
    }
}


sub back {
    my ($self, %o) = @_;

    my $in = $self->{in};

    Fanout::Nginx::wait_for(sub { eval { $self->open(later => 1, %o) } }, 20)
        or return $self->fault("can't come back: $@");

    $self->come;
    $self->leave if !$in;
}


# Whom one is about to write to

sub select {
    my ($self, $other) = @_;

    $self->{selected} = $self->sees($other) ? $other->id : undef;
}

sub selected { $_[0]{selected} }


# What is shown when a message was sent to the one that is selected

sub write_to {
    my ($self, $text, %o) = @_;

    my $to = delete $o{to} || { client => $self->{selected} };
    my $r  = $self->{wire}->cmd('publish', channel => $self->{channel},
                                to => $to, data => $text, %o);

    return $r->{ok} ? 'sent'
         : $r->{error}{code} eq 'recipient_offline' ? 'recipient went offline'
         : $r->{error}{code};
}


# What comes, in the order in which it comes

sub replied {
    my ($self, $id, $r) = @_;

    my $op = delete $self->{wait}{$id} or return;

    if ($r->{error}) {
        my $code = $r->{error}{code};

        $self->fault("$op: $code $r->{error}{message}")
            if $op ne 'leave' || $code ne 'not_joined';
        return;
    }

    if ($op eq 'leave') {
        $self->{list} = {};
        delete $self->{epoch};
        return;
    }

    return if $op ne 'join' && $op ne 'members';

    my @parts = (@{ $r->{part} || [] }, $r->{ok});
    my %list;

    for my $m (map { @{ $_->{members} || [] } } @parts) {
        $self->fault("$m->{client} is there twice") if $list{ $m->{client} };
        $list{ $m->{client} } = $m;
    }

    $self->message($_) for map { @{ $_->{messages} || [] } } @parts;

    my $old = $self->{list};

    @$self{qw( list epoch offset )} =
        (\%list, @{ $r->{ok} }{qw( epoch offset )});
    $self->gone($old->{$_}) for grep { !$list{$_} } sort keys %$old;

    push @{ $self->{news} }, [ joined => $list{$_} ]
        for grep { %$old && !$old->{$_} } sort keys %list;

    my $late = delete $self->{late} || [];

    $self->{stale} = 0;
    $self->change($_) for grep { $_->{offset} > $self->{offset} } @$late;
}


sub handle {
    my ($self, $f, $bytes) = @_;

    return if $f->{closing} || ($f->{channel} // '') ne $self->{channel};

    if ($f->{gap}) {
        $self->put('members') if !$self->{stale}++;

    } elsif ($f->{presence}) {
        return push @{ $self->{late} }, $f if $self->{stale};

        $self->{bytes} = $bytes;
        $self->change($f);

    } elsif (exists $f->{data}) {
        $self->message($f);

    } else {
        $self->fault('told ' . Fanout::JSON::encode($f));
    }
}


sub message {
    my ($self, $f) = @_;

    push @{ $self->{ $f->{to} ? 'mail' : 'said' } }, $f->{data};
}


sub change {
    my ($self, $f) = @_;

    my ($list, $p) = ($self->{list}, $f->{presence});

    $self->fault("$f->{offset} after $self->{offset}")
        if $f->{offset} <= $self->{offset};
    $self->{offset} = $f->{offset};

    for my $m (@{ $p->{left} || [] }) {
        $self->fault("$m->{client} left, but was not there")
            if !delete $list->{ $m->{client} };
        $self->gone($m);
    }

    for my $kind (qw( joined updated )) {
        for my $m (@{ $p->{$kind} || [] }) {
            $self->fault("$m->{client} $kind, but was "
                         . ($kind eq 'joined' ? '' : 'not ') . 'there')
                if !!$list->{ $m->{client} } != ($kind eq 'updated');
            $list->{ $m->{client} } = $m;
            push @{ $self->{news} }, [ $kind => $m ];
        }
    }
}


# The selection is not left on somebody who has gone

sub gone {
    my ($self, $m) = @_;

    push @{ $self->{news} }, [ left => $m ];

    if (($self->{selected} // '') eq $m->{client}) {
        delete $self->{selected};
        push @{ $self->{news} }, [ unavailable => $m ];
    }
}


package Lobby::Wire;

use Fanout::Native;

our @ISA;

BEGIN { @ISA = qw( Fanout::Native ) }

my %decoded;


# What many are told in the same bytes is decoded once

sub sort_in {
    my ($self, $text) = @_;

    my $lobby = $self->{lobby} or return $self->SUPER::sort_in($text);

    %decoded = () if keys %decoded > 2000;

    my $value = $decoded{$text} //= Fanout::JSON::decode($text);

    for my $f (ref $value eq 'ARRAY' ? @$value : $value) {
        my $id = $f->{id};

        if (!defined $id) {
            $lobby->handle($f, length $text);

        } elsif (exists $f->{part}) {
            push @{ $self->{parts}{$id} }, $f->{part};

        } else {
            my $parts = delete $self->{parts}{$id};
            my $reply = $parts ? { %$f, part => $parts } : $f;

            $self->{replies}{$id} = $reply;
            $lobby->replied($id, $reply);
        }
    }
}
