#!/usr/bin/env perl

# Budgets: what a session, a user and an address may have in a time, and how
# many sessions an address may have. If this fails, one client takes the zone
# from all others, gets more by more sessions, or other users are refused for
# what it does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app who:* presence=on history=10;
        fanout_channel app * history=100;
END
    server => <<'END',
        fanout_permit all *;
        fanout_user $arg_user;
        fanout_ping 30s;

        location /default { fanout app; }
        location /costs {
            fanout app;
            fanout_rate 1r/s burst=1000;
        }
        location /half {
            fanout app;
            fanout_rate 1r/s burst=1;
        }
        location /session {
            fanout app;
            fanout_rate off;
            fanout_budget session channels=1/s bytes=1k/s burst=8s;
        }
        location /channels {
            fanout app;
            fanout_rate off;
            fanout_budget session channels=1/s burst=5s;
        }
        location /together {
            fanout app;
            fanout_rate off;
            fanout_budget session off;
            fanout_budget user answers=1k/s burst=10s;
        }
        location /auto {
            fanout app;
            fanout_autojoin auto:1 auto:2 auto:3;
            fanout_rate off;
            fanout_budget session channels=1/s burst=5s;
        }
        location /answers {
            fanout app;
            fanout_rate 1r/s burst=100;
            fanout_budget user off;
            fanout_budget address off;
        }
        location /nat {
            fanout app;
            fanout_budget user commands=10/s burst=5s;
            fanout_budget address commands=10/s burst=20s;
        }
        location /told {
            fanout app;
            fanout_rate off;
            fanout_budget session answers=4k/s burst=10s;
        }
        location /address {
            fanout app;
            fanout_rate off;
            fanout_budget session off;
            fanout_budget user off;
            fanout_budget address commands=1/s sessions=off burst=60s;
        }
        location /addresschannels {
            fanout app;
            fanout_rate off;
            fanout_budget session off;
            fanout_budget address channels=1/s burst=5s;
        }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_rate off;
            fanout_budget address commands=1/s sessions=off burst=61s;
        }
        location /user {
            fanout app;
            fanout_rate off;
            fanout_budget user commands=1/s burst=60s;
        }
        location /lists {
            fanout app;
            fanout_budget address commands=10/s sessions=off burst=60s;
        }
        location /beginuser {
            fanout app;
            fanout_budget user sessions=1/s burst=3s;
        }
        location /seats {
            fanout app;
            fanout_sessions_per_user 2;
        }
        location /begin {
            fanout app;
            fanout_budget address sessions=1/s burst=3s;
        }
        location /few {
            fanout app;
            fanout_sessions_per_address 3;
            fanout_resume 0;
        }
        location /off {
            fanout app;
            fanout_rate off;
            fanout_budget off;
            fanout_sessions_per_address off;
        }
        location /real {
            set_real_ip_from 127.0.0.0/8;
            real_ip_header X-Real-IP;
            fanout app;
            fanout_rate off;
            fanout_budget address commands=1/s sessions=off burst=62s;
        }
        location /api/ { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;


sub status { return $nginx->http->get('/status')->json }

sub sessions {
    my $n = 0;

    $n += $_->{sessions} for @{ status()->{workers} };

    return $n;
}

sub codes {
    my %n;
    $n{ $_->{ok} ? 'ok' : $_->{error}{code} }++ for @_;
    return \%n;
}


# n commands in arrays of 50; the replies

sub many {
    my ($ws, $n, $cmd) = @_;

    my ($i, @r) = 0;

    while ($i < $n) {
        push @r, $ws->batch(map { $cmd->($i++) } 1 .. 50);
    }

    return @r;
}

sub ping { return { op => 'ping' } }


# an address or a user above its budget, so that it stays there for a while

sub exhaust {
    my ($path, %o) = @_;

    my $ws = $nginx->native(path => $path, %o);

    for (1 .. 100) {
        my ($last) = reverse many($ws, 50, \&ping);
        return $ws if $last->{error};
    }

    fail("$path is never refused");
    return $ws;
}


subtest 'a session' => sub {
    my $ws = $nginx->native(path => '/channels');
    my @r  = many($ws, 50, sub { { op => 'publish', channel => "s:$_[0]",
                                   data => 1 } });

    ok(codes(@r[0 .. 4])->{ok} == 5, 'makes as many channels as it may');
    is($r[-1]{error}{code}, 'rate_limited', 'and then no more');
    is($r[-1]{error}{data}{limit}, 'channels', 'what is limited');
    is($r[-1]{error}{data}{of}, 'session', 'whose limit it is');
    like($r[-1]{error}{message}, qr/fanout_budget session channels=/,
         'which directive it is');

    my $wait = $r[-1]{error}{data}{retry_after};
    ok($wait >= 1 && $wait <= 1001, 'when it may try again')
        or diag(explain($r[-1]));

    ok($ws->cmd('publish', channel => 's:1', data => 2)->{ok},
       'a channel that is there can be used');
    ok(wait_for(sub { $ws->cmd('join', channel => 's:new')->{ok} }),
       'and one more in time');

    $ws = $nginx->native(path => '/session');
    @r  = many($ws, 50, sub { { op => 'publish', channel => 's:1',
                                data => 'x' x 1000 } });

    ok($r[0]{ok} && $r[5]{ok}, 'writes as much as it may');
    is($r[-1]{error}{data}{limit}, 'bytes', 'and then no more')
        or diag(explain($r[-1]));
    ok($ws->cmd('history', channel => 's:1')->{ok}, 'it may read');
    is($ws->cmd('signal', channel => 's:1', event => 'e')->{error}{code},
       'rate_limited', 'a signal is written, too');
    is($ws->cmd('join', channel => 's:2')->{error}{code}, 'rate_limited',
       'and a join');
};


subtest 'costs' => sub {
    my $ws = $nginx->native(path => '/off');

    for my $i (1 .. 100) {
        $ws->ok('publish', channel => 'big', data => 'x' x 5000);
    }

    my $left = sub {
        my $ws = $nginx->native(path => '/costs', local => '127.0.0.7');
        $ws->batch(@_);

        for (my $n = 0; ; ) {
            my $codes = codes(many($ws, 50, \&ping));

            $n += $codes->{ok} || 0;
            return $n if $codes->{rate_limited};
        }
    };

    my $plain = $left->(map { { op => 'ping' } } 1 .. 2);
    my $much  = $left->(map { { op => 'history', channel => 'big' } } 1 .. 2);

    ok($much > $plain - 150, 'what is told is no cost of a command')
        or diag("$much after two histories, $plain after two pings");

    my $some = $left->({ op => 'publish', channel => 'none',
                         messages => [ map { { data => 1 } } 1 .. 64 ] });
    ok($some < $plain, 'each message of a publish counts')
        or diag("$some after a publish of 64, $plain after two pings");

    my @signals = $nginx->native(path => '/half')->batch(
        map { { op => 'signal', channel => 'half', event => 'e' } } 1 .. 20);

    cmp_ok(codes(@signals)->{ok}, '>=', 2,
           'half a command is enough for a signal');
    is($signals[-1]{error}{code}, 'rate_limited', 'less is not');
};


# "big" has 500 kB, which others may have written.

subtest 'answers' => sub {
    my %at  = (channel => 'big', since => start('big'));
    my $ws  = $nginx->native(path => '/answers');
    my $r   = $ws->cmd('history', channel => 'big');

    ok($r->{ok}, 'a long one is told') or diag(explain($r));

    for (1 .. 20) {
        $r = $ws->cmd('history', channel => 'big');
        last if $r->{error};
    }

    is($r->{error}{code}, 'rate_limited', 'and then no more');
    is($r->{error}{data}{limit}, 'answers', 'what is limited');
    is($r->{error}{data}{of}, 'session', 'whose limit it is');
    like($r->{error}{message}, qr/fanout_budget session answers=/,
         'which directive it is');

    my $wait = $r->{error}{data}{retry_after};
    ok($wait >= 1 && $wait <= 10001, 'it is refused for 10 s at most')
        or diag("for $wait ms");

    is($ws->cmd('join', %at)->{error}{data}{limit}, 'answers',
       'a join that tells what was missed is refused, too');
    is($ws->cmd('join', channel => 'big', history => 1)->{error}{data}{limit},
       'answers', 'and one with history');
    is($ws->cmd('members', channel => 'who:x')->{error}{data}{limit},
       'answers', 'and members');
    is($ws->cmd('join', channel => 'who:x')->{error}{data}{limit}, 'answers',
       'and a join that tells the members');

    ok($ws->cmd('join', channel => 'small')->{ok}, 'it may join');
    ok($ws->cmd('publish', channel => 'small', data => $_)->{ok},
       'and publish') for 1 .. 5;
    ok($ws->cmd('leave', channel => 'small')->{ok}, 'and leave');
    ok($ws->cmd('ping')->{ok}, 'and ping');

    $ws = $nginx->native(path => '/told');
    ok($ws->cmd('join', %at)->{ok}, 'what is missed is told');
    is($ws->cmd('history', channel => 'big')->{error}{data}{limit}, 'answers',
       'and counts for answers=');
};


# where a channel begins

sub start {
    my $info = $nginx->http->get("/api/channels/$_[0]")->json;
    return { epoch => $info->{epoch}, offset => 0 };
}


# Asks for 4 MB at once, and reads nothing; the answer to who asks then.

sub flood {
    my ($path, @nat) = @_;

    my @ws = map { $nginx->native(path => $path, @nat) } 1 .. 8;
    $_->send_cmd('join', channel => 'big', since => start('big')) for @ws;

    my $r;
    wait_for(sub {
        my $ws = $nginx->native(path => $path, @nat);
        $r = $ws->cmd('history', channel => 'big', limit => 1);
        return $r->{error};
    });

    return $r->{error}{data};
}


subtest 'neighbours' => sub {
    my @nat  = (local => '127.0.0.11');
    my $bob  = $nginx->native(path => '/nat?user=bob', @nat);
    my $data = flood('/nat?user=ann', @nat);

    is($data->{of}, 'user', 'what a user has been told');
    is($data->{limit}, 'answers', 'is owed of answers');
    ok($nginx->native(path => '/nat?user=ann', @nat)->cmd('ping')->{ok},
       'and no reason to refuse commands');

    is_deeply(codes(many($bob, 50, \&ping)), { ok => 50 },
              'one beside it may send commands');
    ok($bob->cmd('history', channel => 'big', limit => 1)->{ok},
       'and is told');
    is($nginx->http(@nat)->get('/nat?poll=1&timeout=0&channel=big')->{status},
       200, 'and so is a poll');
};


subtest 'an address owes little' => sub {
    my @nat  = (local => '127.0.0.12');
    my $bob  = $nginx->native(path => '/nat', @nat);
    my $data = flood('/nat', @nat);

    is($data->{of}, 'address', 'its answers are refused');
    is($data->{limit}, 'answers', 'and nothing else');
    ok($data->{retry_after} <= 5000, 'for 5 s at most')
        or diag(explain($data));
    is_deeply(codes(many($bob, 50, \&ping)), { ok => 50 },
              'and may send commands');
};


subtest 'an address' => sub {
    my $ws    = exhaust('/address', local => '127.0.0.3', worker => $one);
    my $other = $nginx->native(path => '/address', worker => $two);

    my $r = $ws->cmd('ping');

    is_deeply([ @{ $r->{error} }{qw( code )}, @{ $r->{error}{data} }{qw( of
              limit )} ], [qw( rate_limited address commands )],
              'one session is refused');
    ok(codes(many($other, 50, \&ping))->{ok} == 50,
       'another address on another worker is not');

    refused_everywhere('127.0.0.3', 'address', 'commands');

    my $http = $nginx->http(local => '127.0.0.1');
    is($http->get('/address?poll=1&timeout=0&channel=a')->{status}, 200,
       'a poll of another address');
};


# on a slow machine some of the budget is there again

sub owe {
    my ($local) = @_;

    my $pings = Fanout::JSON::encode([ map { { op => 'ping', id => $_ } } 1 .. 10 ]);

    $nginx->http(local => $local)->post('/address', $pings,
        headers => { 'Content-Type' => 'application/json' });
}


# Every way to begin is refused, and says why and for how long.

sub refused_everywhere {
    my ($local, $of, $limit) = @_;

    for my $worker ($nginx->worker_pids) {
        owe($local);

        my $http = $nginx->http(local => $local, worker => $worker);

        my %answer = (
            poll => $http->get('/address?poll=1&timeout=0&channel=a'),
            sse  => $http->get('/address?channel=a'),
            post => $http->post('/address', '{"op":"ping","id":1}',
                        headers => { 'Content-Type' => 'application/json' }),
        );

        for my $how (sort keys %answer) {
            my $r = $answer{$how};
            my $e = $r->{status} == 429 ? $r->json->{error} : {};

            is($r->{status}, 429, "$how: the status")
                or diag(explain($r));
            is($e->{code}, 'rate_limited', "$how: the code");
            is($e->{data}{of}, $of, "$how: whose limit");
            is($e->{data}{limit}, $limit, "$how: of what");
            ok($e->{data}{retry_after} > 0, "$how: when, in ms");
            ok(($r->{headers}{'retry-after'} // 0) >= 1, "$how: when, in s");
        }

        my $r = $http->get('/address?channel=a',
                           headers => { Accept => 'text/event-stream' });
        is($r->{status}, 200, 'EventSource: it would be final');
        like($r->{headers}{'content-type'}, qr{text/event-stream},
             'EventSource: an event');
        like($r->{body}, qr/^retry: \d+\ndata: \{"error":\{"code":"rate_lim.*\n\n/,
             'EventSource: says why, and when to come back');

        owe($local);

        my $ws = $nginx->ws(path => '/address', local => $local,
                            worker => $worker, expect => undef);
        is($ws->status, 429, 'WebSocket: the status');
        ok(($ws->headers->{'retry-after'} // 0) >= 1, 'WebSocket: when');
    }
}


subtest 'the log says whose address it may be' => sub {
    my $line = qr/\[warn\].*fanout refused a command: .*address commands=/;
    my $hint = 'if the address is a proxy, set_real_ip_from is missing';

    exhaust('/address', local => '127.0.0.13',
            headers => { 'X-Forwarded-For' => '192.0.2.1' });

    ok($nginx->wait_log(qr/$line; $hint.*client: 127\.0\.0\.13/),
       'a proxy that is taken for a client');

    my $ws = exhaust('/address', local => '127.0.0.14');

    ok($nginx->wait_log(qr/$line(?!.*$hint).*client: 127\.0\.0\.14/),
       'a client that is none');

    my $lines = () = $nginx->log_like(qr/$line.*client: 127\.0\.0\.14/);

    $ws->cmd('ping') for 1 .. 30;
    my $more = () = $nginx->log_like(qr/$line.*client: 127\.0\.0\.14/);
    ok($more <= $lines + 5, 'one that goes on is counted') or diag($more);
};


subtest 'it outlives workers' => sub {
    exhaust('/address', local => '127.0.0.4', worker => $two);

    my $is_refused = sub {
        my $r = $nginx->http(local => '127.0.0.4')
            ->get('/address?poll=1&timeout=0&channel=a');

        is($r->{status}, 429, "refused after $_[0]");
    };

    $nginx->kill_worker($one);
    $is_refused->('the end of a worker');
    ($one, $two) = $nginx->worker_pids;
    refused_everywhere('127.0.0.4', 'address', 'commands');

    owe('127.0.0.4');
    $nginx->reload;
    $is_refused->('a reload');
    $nginx->reload(wait_old => 1);
    ($one, $two) = $nginx->worker_pids;
};


subtest 'raw' => sub {
    my $ws = $nginx->ws(path => '/raw?channel=r', local => '127.0.0.3');

    for (1 .. 200) {
        $ws->send_text('x');
    }

    is($ws->wait_close, 4429, 'is closed');
    like($ws->close_reason, qr/fanout_budget address commands=/, 'says why');

    $ws = $nginx->ws(path => '/raw?channel=r', local => '127.0.0.3',
                     expect => undef);
    is($ws->status, 429, 'and does not come back at once');
    $ws = $nginx->ws(path => '/raw?channel=r', expect => undef);
    is($ws->status, 101, 'others do');
};


subtest 'a user' => sub {
    my $ws = exhaust('/user?user=ann', local => '127.0.0.3');
    is($ws->cmd('ping')->{error}{data}{of}, 'user', 'whose limit it is');

    my $same = $nginx->native(path => '/user?user=ann', local => '127.0.0.5',
                              expect => undef);
    is($same->status, 429, 'it is the user, wherever he is');

    my $bob = $nginx->native(path => '/user?user=bob', local => '127.0.0.3');
    ok(codes(many($bob, 50, \&ping))->{ok} == 50, 'not who is beside him');
};


subtest 'channels of an address' => sub {
    my @from = (local => '127.0.0.3');

    my $ws = $nginx->native(path => '/addresschannels', @from);
    my @r  = many($ws, 50, sub { { op => 'publish', channel => "a:$_[0]",
                                   data => 1 } });
    is($r[-1]{error}{data}{of}, 'address', 'are refused');

    # a session learns of it with the first that it makes

    my $http = $nginx->http(@from);
    my $made = 0;

    for my $i (1 .. 50) {
        my $r = $http->get("/addresschannels?poll=1&timeout=0&channel=p:$i");
        last if $r->{status} == 429;
        $made++;
    }

    ok($made < 50, 'by polls, too') or diag("$made made");

    is($nginx->http->get('/addresschannels?poll=1&timeout=0&channel=q')
             ->{status}, 200, 'not those of others');
};


# A session that was told nothing yet knows what another one was.

subtest 'answers of a user to another of its sessions' => sub {
    my ($one, $two) = map { $nginx->native(path => '/together?user=ann') } 1, 2;

    ok($one->cmd('history', channel => 'big')->{ok}, 'the first is told');

    my $r = $two->cmd('history', channel => 'big');

    is($r->{error}{data}{limit}, 'answers', 'and the second is not');
    is($r->{error}{data}{of}, 'user', 'whose budget it is');
};


# The channels before count, not only the requests before.

subtest 'many new channels in one URL' => sub {
    for my $query ('poll=1&timeout=0', 'poll=0') {
        my $name = substr $query, 5, 1;
        my $r = eval {
            $nginx->http->get("/channels?$query&" . join('&', map {
                "channel=url:$name-$_"
            } 1 .. 40), timeout => 5);
        };

        is($r ? $r->{status} : $@, 429, "$query: refused") or next;
        is($r->json->{error}{data}{limit}, 'channels', 'why');

        my $made = grep {
            $nginx->http->get("/api/channels/url:$name-$_")->{status} == 200
        } 1 .. 40;

        ok($made < 40, 'they are not made') or diag("$made are");
    }
};


subtest 'what is joined by configuration is paid once' => sub {
    my $ws = $nginx->native(path => '/auto');

    $ws->next_where(sub { $_[0]{ok} && $_[0]{ok}{channel} eq 'auto:3' })
        or die "not joined\n";

    ok($ws->cmd('join', channel => "more:$_")->{ok}, 'a further one')
        for 1, 2;
};


subtest 'sessions begun' => sub {
    my @from = (local => '127.0.0.3');
    my ($refused, @ws);

    for (1 .. 50) {
        push @ws, $nginx->native(path => '/begin', @from, expect => undef);

        if ($ws[-1]->status != 101) {
            $refused = pop @ws;
            last;
        }
    }

    ok(@ws >= 3, 'as many as may be');
    ok($refused && $refused->status == 429, 'and then no more') or return;
    ok($refused->headers->{'retry-after'} >= 1, 'says when');

    my $token = $ws[0]->welcome->{resume};
    $ws[0]->cut;

    my $back = $nginx->native(path => '/begin', @from, resume => $token,
                              expect => undef);
    is($back->status, 101, 'who comes back begins none');
};


# What any page can make a browser send has no header that tells whose it is.

subtest 'images of a foreign page' => sub {
    my %site = ('Sec-Fetch-Site' => 'same-origin', 'Sec-Fetch-Dest' => 'empty');
    my @held;

    my $begin = sub {
        my ($path, %headers) = @_;
        push @held, $nginx->http;
        return $held[-1]->start('GET', $path, headers => \%headers)->{status};
    };

    my $first = sub {
        my ($path, %headers) = @_;
        push @held, $nginx->http;
        $held[-1]->start('GET', $path, headers => \%headers);
        return $held[-1]->next_event(10);
    };

    my $path = '/beginuser?user=ann&channel=a';

    ok((grep { $begin->($path) == 429 } 1 .. 10), 'streams have a budget');
    is($begin->($path, %site), 200, 'a stream of a page of the site');
    is($nginx->native(path => $path, expect => undef)->status, 101,
       'a WebSocket of the user');
    ok((grep { $begin->($path, %site) == 429 } 1 .. 10),
       'streams of the site have the budget of the user');
    is($nginx->native(path => $path, expect => undef)->status, 429,
       'as its WebSockets have');

    $path = '/user?user=eve&channel=a&poll=1&timeout=0';

    ok((grep { $begin->($path) == 429 } 1 .. 100), 'polls have a budget');
    is($begin->($path, Referer => 'http://localhost/x'), 200,
       'a poll of a page of the site');
    is($nginx->http->post('/user?user=eve', '{"id":1,"op":"ping"}',
                          headers => { 'Content-Type' => 'application/json' })
                   ->{status},
       200, 'a POST of the user');

    $path = '/seats?user=joy&channel=a';

    $first->($path) for 1 .. 2;
    like($first->($path)->{data}, qr/"too_many"/, 'streams have places');

    my @ws = map { $nginx->native(path => $path) } 1 .. 2;
    ok($ws[1]->cmd('ping')->{ok}, 'of which WebSockets of the user lose none');
    like($first->($path, %site)->{data}, qr/"too_many"/,
         'a stream of the site takes one of those');
};


subtest 'sessions of an address' => sub {
    my @from = (local => '127.0.0.3');

    ok(wait_for(sub { sessions() == 0 }), 'no session is left');

    my $ws = $nginx->native(path => '/few', @from, worker => $one);
    my $sse = $nginx->http(@from, worker => $two);
    $sse->start('GET', '/few?channel=a');
    my $poll = $nginx->http(@from, worker => $one);
    $poll->connection->send_bytes($poll->format_request('GET',
        '/few?poll=1&channel=a&timeout=60&since=' . position()));

    # a session that only looks would take the place of the poll

    ok(wait_for(sub { sessions() == 3 }), 'three sessions')
        or diag(explain(status()->{workers}));
    ok(wait_for(sub { few(@from) == 503 }), 'of any transport and worker')
        or diag(explain(status()->{zone}));

    my $r = $nginx->http(@from)->get('/few?channel=a');
    is($r->{status}, 503, 'one too many');
    is($r->json->{error}{code}, 'too_many', 'says so');
    is($r->json->{error}{data}{max}, 3, 'how many there may be');
    like($r->json->{error}{message}, qr/fanout_sessions_per_address/,
         'which directive it is');
    ok($r->{headers}{'retry-after'}, 'and when to come back');

    $r = $nginx->http(@from)->get('/few?channel=a',
                          headers => { Accept => 'text/event-stream' });
    like($r->{body}, qr/"code":"too_many"/, 'an EventSource can read it');

    is(few(local => '127.0.0.1'), 101, 'another address');

    $ws->cut;
    ok(wait_for(sub { few(@from) == 101 }), 'one has ended');
    $poll->disconnect;
    $sse->disconnect;

    ok(wait_for(sub { status()->{zone}{addresses} == addresses() }),
       'none is left of what has ended') or diag(explain(status()->{zone}));
};


# whether one more may begin; it ends at once

sub few {
    my $ws = $nginx->native(path => '/few', expect => undef, @_);
    my $status = $ws->status;

    $ws->cut;

    return $status;
}

sub position {
    my $r = $nginx->http->get('/off?poll=1&timeout=0&channel=a');
    return $r->{headers}{'fanout-position'};
}

# pairs of a worker and an address that have sessions: what still lives of
# those above

sub addresses {
    return status()->{worker}{sessions} >= 0
           ? status()->{zone}{used}{addresses} : -1;
}


subtest 'sessions of a worker that dies' => sub {
    my @from = (local => '127.0.0.6');
    my @ws   = map { $nginx->native(path => '/few', @from, worker => $one) }
               1 .. 3;

    is(few(@from), 503, 'all there may be');
    $nginx->kill_worker($one);
    ok(wait_for(sub { few(@from) == 101 }), 'they end with it');
    ($one, $two) = $nginx->worker_pids;
};


subtest 'networks of IPv6' => sub {
    my $try = sub {
        $nginx->native(path => '/real', headers => { 'X-Real-IP' => $_[0] },
                       expect => undef)->status;
    };

    exhaust('/real', headers => { 'X-Real-IP' => '2001:db8:0:1::1' });

    is($try->('2001:db8:0:1:ffff::2'), 429, 'one of 64 bits is one address');
    is($try->('2001:db8:0:2::1'), 101, 'another one is another');
    is($try->('192.0.2.1'), 101, 'and IPv4');

    exhaust('/real', headers => { 'X-Real-IP' => '192.0.2.9' });
    is($try->('::ffff:192.0.2.9'), 429, 'which can be written as IPv6');
};


subtest 'who is exempt' => sub {
    my $ws = $nginx->native(path => '/off', local => '127.0.0.3');

    is_deeply(codes(many($ws, 5000, sub {
                  { op => 'publish', channel => "o:$_[0]", data => 1 }
              })), { ok => 5000 }, 'a location without budgets');

    my $http = $nginx->http(local => '127.0.0.3');
    my $ok   = grep { $http->post("/api/channels/x:$_/messages", '1')->{status}
                      == 201 } 1 .. 300;
    is($ok, 300, 'the HTTP API');
};


# by default

subtest 'keys' => sub {
    my @from   = (local => '127.0.0.8');
    my $friend = $nginx->native(path => '/default');
    my $before = status()->{zone}{keys};

    $friend->ok('join', channel => 'friends');

    my $ws = $nginx->native(path => '/default', @from);
    my ($n, @r) = 0;

    # one that goes on when it is refused is closed

    while (@r < 10000 && !codes(@r)->{rate_limited}) {
        push @r, many($ws, 50, sub { { op => 'publish', channel => 'k',
                                       data => 0, key => 'k' . $n++ } });
    }

    ok(codes(@r)->{rate_limited}, 'a flood of keys is refused');
    ok(status()->{zone}{keys} - $before == codes(@r)->{ok},
       'and leaves no more than what was not');
    ok($friend->cmd('publish', channel => 'friends', data => $_)->{ok},
       'a friend goes on') for 1 .. 20;
};


subtest 'members' => sub {
    my @from = (local => '127.0.0.9');
    my $ws   = $nginx->native(path => '/off');
    my $pad  = 'x' x 4000;

    $ws->ok('join', channel => "who:$_", presence => { pad => $pad })
        for 1 .. 10;

    my $http = $nginx->http(@from);
    my $join = join '', map { "&join=%7B%22channel%22:%22who:$_%22,"
                              . "%22presence%22:null%7D" } 1 .. 10;
    my ($n, $status) = (0);

    # 20 a poll: 30 of them at once, then one in two seconds

    while ($n++ < 1000) {
        $status = $http->get("/lists?poll=1&timeout=0$join")->{status};
        last if $status != 200;
    }

    is($status, 429, 'a flood of lists is refused') or diag("after $n");
    ok($nginx->native(path => '/default')->cmd('members', channel => 'who:1')
             ->{ok}, 'a friend gets one');
};


subtest 'what the status says' => sub {
    my $st = status();
    my $c  = $st->{counters};

    ok($c->{"limited_$_"} > 0, "limited_$_ counts")
        for qw( commands bytes channels answers sessions session user
                address );
    is($c->{limited_commands} + $c->{limited_bytes} + $c->{limited_channels}
       + $c->{limited_answers} + $c->{limited_sessions}
       + $c->{limited_publishes},
       $c->{limited_session} + $c->{limited_user} + $c->{limited_address},
       'each refusal has a reason and somebody it is of');
    ok($c->{address_full} > 0, 'address_full counts');
    ok($st->{zone}{budgets} > 5
       && $st->{zone}{budgets} <= $st->{zone}{budgets_limit},
       'entries in use');
    is($st->{zone}{overflows}, 0, 'the zone is sound');
};


done_testing();
