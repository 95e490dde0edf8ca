#!/usr/bin/env perl

# Who ends when: if this fails, a session that ends within what begins it, or a
# request that outlives its session, or the other way round, is a worker that
# dies with all of its clients.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::H2;
use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


# what was freed is not what it was

$ENV{MALLOC_PERTURB_} = 165;

my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $locations = <<'END';
        fanout_permit all *;
        location /rt { fanout app; fanout_user $arg_user; }
        location /one {
            fanout app;
            fanout_user $arg_user;
            fanout_sessions_per_user 1;
        }
        location /full { fanout full; }
        location /elsewhere {
            fanout full;
            error_page 507 =200 /rt?channel=after;
        }
        location /fanout { fanout_api app; }
        location /filler { fanout_api full; }
        location = /status { fanout_status app; }
END

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 16m;
                fanout_zone full 2m;
                fanout_channel app * history=100;',
    server  => $locations,
    servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on $locations }",
);

my ($pid) = $nginx->worker_pids;
my $http = $nginx->http;
my $bystander = $nginx->native(path => '/rt');

$bystander->ok('join', channel => 'a');


my %page = ('X-Requested-With' => 'x');


# the worker is the one that it was, and serves who was there before

sub lives {
    my ($what) = @_;

    subtest "$what: the worker lives" => sub {
        $http->post('/fanout/channels/a/messages', '"still"');

        my $m = eval { $bystander->next_where(sub { $_[0]{data} }) };

        is($m && $m->{data}, 'still', 'a bystander is told');
        is(join(' ', $nginx->worker_pids), $pid, 'by the same worker');
    };
}


sub sessions {
    return Fanout::JSON::decode(Fanout::HTTP->new(port => $nginx->port)
                  ->get('/status')->{body});
}


subtest 'polls that are refused' => sub {
    my $closing = qr/^retry: \d+\n.*"closing":\{[^}]*"too_many"/s;
    my $r = $http->get('/one?user=u&poll=1&session=1&channel=b',
                       headers => { %page });

    is($r->{status}, 200, 'a first session of a user');

    for my $n (1 .. 20) {
        my $own = Fanout::HTTP->new(port => $nginx->port);

        $r = $own->get('/one?user=u&poll=1&session=1&channel=b',
                       headers => { %page, Connection =>
                                    $n % 2 ? 'close' : 'keep-alive' });
        last if $r->{status} < 400 || $r->{body} !~ /^\{"error":\{/;
    }

    cmp_ok($r->{status}, '>=', 400, 'a second one is refused');
    like($r->{body}, qr/^\{"error":\{/, 'by an error');

    $r = $http->get('/one?user=u&channel=b', headers => { %page });
    is($r->{status}, 200, 'a stream is refused as well');
    like($r->{body}, $closing, 'by an event, with which EventSource comes back');

    my $h2 = Fanout::H2->connect(port => $nginx->port('PORT1'));

    $h2->get(2 * $_ + 1, '/one?user=u&channel=b'
                         . ($_ % 2 ? '&poll=1&session=1' : ''),
             'x-requested-with' => 'x')
        for 0 .. 19;

    ok($h2->read_until(sub { keys %{ $h2->{end} } == 20 }),
       'and all by HTTP/2');
    is(scalar(grep { /^\{"error":\{/ } values %{ $h2->{body} }), 10,
       'polls by errors');
    is(scalar(grep { /$closing/ } values %{ $h2->{body} }), 10,
       'streams by events');
};

lives('polls that are refused');


subtest 'a request that outlives its session' => sub {
    my $h2 = Fanout::H2->connect(port => $nginx->port('PORT1'));

    $h2->get(1, '/rt?channel=b');
    ok($h2->read_until(sub { $h2->{body}{1} =~ /^data: \{"ok"/m }),
       'a stream begins');

    my ($token) = $h2->{body}{1} =~ /"resume":"(r_[0-9a-f]+)"/;

    # nothing can be sent to it any more; then its client is elsewhere

    $h2->send(Fanout::H2::frame(4, 0, 0, pack 'nN', 4, 0)
              . Fanout::H2::frame(6, 0, 0, 'pingpong'));
    $h2->read_until(sub { 0 }, 0.2);

    my $other = Fanout::H2->connect(port => $nginx->port('PORT1'));

    $other->get(1, '/rt?channel=b', 'fanout-resume' => $token);
    ok($other->read_until(sub { $other->{body}{1} =~ /"resumed":true/ }),
       'its client comes back elsewhere');

    # others, for what is freed to be used

    my @h2 = map { Fanout::H2->connect(port => $nginx->port('PORT1')) }
             1 .. 20;

    $_->get(1, '/rt?channel=c') for @h2;
    is(scalar(grep { my $c = $_;
                     $c->read_until(sub { $c->{body}{1} =~ /^data: \{"ok"/m })
              } @h2), 20, 'others begin');

    $h2->send(Fanout::H2::frame(3, 0, 1, pack 'N', 8));
    $h2->send(Fanout::H2::frame(6, 0, 0, 'pingpong'));
    $h2->read_until(sub { 0 }, 0.2);

    $http->post('/fanout/channels/c/messages', '"c"');

    is(scalar(grep { my $c = $_;
                     $c->read_until(sub { $c->{body}{1} =~ /"data":"c"/ })
              } @h2), 20, 'and are told');
};

lives('a request that outlives its session');


subtest 'a window that is opened after the end' => sub {
    my $h2 = Fanout::H2->connect(port => $nginx->port('PORT1'));

    $h2->get(1, '/rt?channel=b');
    ok($h2->read_until(sub { $h2->{body}{1} =~ /^data: \{"ok"/m }),
       'a stream begins');

    my ($token) = $h2->{body}{1} =~ /"resume":"(r_[0-9a-f]+)"/;

    $h2->send(Fanout::H2::frame(4, 0, 0, pack 'nN', 4, 0));
    $h2->read_until(sub { 0 }, 0.2);

    my $other = $nginx->native(path => '/rt', resume => $token);
    ok($other->welcome->{resumed}, 'its client comes back as another');

    $h2->send(Fanout::H2::frame(8, 0, 1, pack 'N', 1_000_000));
    ok($h2->read_until(sub { $h2->{end}{1} }), 'the response ends');
    like($h2->{body}{1}, qr/"closing":\{"code":"replaced","status":4409/,
         'as one that is whole, and says why');
};

lives('a window that is opened after the end');


subtest 'a zone that is full' => sub {
    for (1 .. 200) {
        my $r = $http->post('/filler/channels/x' . int(rand 1e9)
                            . '/messages', '"' . 'x' x 4000 . '"');
        last if $r->{status} == 507;
    }

    for my $n (1 .. 40) {
        my $own = Fanout::HTTP->new(port => $nginx->port);

        $own->get("/full?poll=1&session=1&channel=f$n",
                  headers => { %page });
        $own->get("/elsewhere?poll=1&session=1&channel=f$n&timeout=0",
                  headers => { %page });
    }

    pass('refuses polls, whatever comes of them');
};

lives('a zone that is full');


# all that were begun have ended with their connections

ok(wait_for(sub {
       my $n = 0;
       $n += $_->{sessions} for @{ sessions()->{workers} };
       return $n == 1;
   }), 'nothing is left') or diag(explain(sessions()->{workers}));

done_testing;
