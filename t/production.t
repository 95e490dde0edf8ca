#!/usr/bin/env perl

# conf/production.conf: if this fails, what operators are told to begin with does
# not start, lets in who should not be, or tells the world what is for monitoring
# only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw( tempdir );

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;


# the application: knows sessions by a cookie

my $app = Fanout::Nginx->start(
    module => '',
    server => <<'END',
        location = /session {
            if ($cookie_session !~ ^s-(?<who>\w+)$) { return 401; }
            add_header X-User $who always;
            return 204;
        }
        location / { return 200 "application $http_x_forwarded_for\n"; }
END
);

my $text = production();

$text =~ s/%%PORT2%%/$app->port/e;

my $dir = tempdir('fanout-XXXXXX', TMPDIR => 1, CLEANUP => 1);

open my $types, '>', "$dir/mime.types" or die $!;
print $types "types { text/html html; }\n";
close $types;

# where this may not be raised, the test needs no more than there is

my $nginx = Fanout::Nginx->start(
    conf  => $text,
    dir   => $dir,
    tls   => 1,
    allow => [ qr/setrlimit\(RLIMIT_NOFILE, 65536\) failed/ ],
);


sub web {
    my ($path, %o) = @_;

    my $http = $nginx->http(tls => 1);

    return $http->request($o{method} || 'GET', $path, %o);
}


sub join_in {
    my ($who, %o) = @_;

    my %headers = (
        Host   => 'app.example.com',
        Origin => 'https://app.example.com',
        ($who ? (Cookie => "session=s-$who") : ()),
        %{ delete $o{headers} || {} },
    );

    return $nginx->native(tls => 1, expect => undef, headers => \%headers,
                          %o);
}


subtest 'the application' => sub {
    my $r = web('/', headers => { Host => 'app.example.com' });

    is($r->{status}, 200, 'answers over TLS');
    like($r->{body}, qr/^application/, 'itself');

    $r = web('/', headers => { 'X-Forwarded-For' => '192.0.2.7' });
    like($r->{body}, qr/192\.0\.2\.7/, 'is told who it is for');

    $r = $nginx->http(server_port => 'PORT1')->get('/x?y=1',
        headers => { Host => 'app.example.com' });

    is($r->{status}, 301, 'without TLS');
    is($r->{headers}{location}, 'https://app.example.com/x?y=1',
       'one is sent there');
};


subtest 'who gets in' => sub {
    my $ann = join_in('ann');

    is($ann->status, 101, 'who has a session');
    is($ann->welcome->{user}, 'ann', 'by the name that the application gave');

    is(join_in('')->status, 401, 'nobody else');
    is(join_in('no/such')->status, 401, 'with another cookie');
    is(join_in('ann', headers => { Origin => 'https://evil.test' })->status,
       403, 'from another site');
    is(web('/auth', headers => { Cookie => 'session=s-ann' })->{status}, 404,
       'the way to ask is not public');

    $ann->ok('join', channel => 'room:1');
    $ann->ok('join', channel => 'user:ann');

    for my $op ([ join => 'user:bob' ], [ publish => 'user:ann' ],
                [ join => 'secret' ])
    {
        is($ann->cmd($op->[0], channel => $op->[1],
                     $op->[0] eq 'publish' ? (data => 1) : ())->{error}{code},
           'forbidden', "@$op is not for ann");
    }

    my $bob = join_in('bob');

    $bob->ok('publish', channel => 'room:1', data => 'hi');
    is($ann->next_push->{from}{user}, 'bob', 'they hear each other');

    my $r = $nginx->http->post('/fanout/channels/user:ann/messages', '"psst"');

    is($r->{status}, 201, 'a service publishes');
    is($ann->next_push->{data}, 'psst', 'to one');
    is($bob->next_push(0), undef, 'only');
};


subtest 'limits' => sub {
    my $ann = join_in('ann');
    my %limits = %{ $ann->welcome->{limits} };

    is("@limits{qw( message channels )}", '16384 20', 'are told');

    my @codes = map { $_->{error} ? $_->{error}{code} : 'ok' }
                map { $ann->cmd('publish', channel => 'room:2', data => $_) }
                1 .. 60;

    ok((grep { $_ eq 'rate_limited' } @codes), 'a flood of commands');

    my @got = map { join_in('ann', welcome => 0,
                            headers => { 'X-Forwarded-For' => '192.0.2.9' }) }
              1 .. 80;

    ok((grep { $_->status == 429 } @got), 'a flood of handshakes');
    is(join_in('ann', headers => { 'X-Forwarded-For' => '192.0.2.10' })->status,
       101, 'another address is let in');
};


subtest 'what is not public' => sub {
    for my $path ('/fanout/channels', '/status') {
        like(web($path)->{body}, qr/^application/, "$path is the application's");
    }

    my $http = $nginx->http;

    is($http->get('/status')->json->{zone}{name}, 'app', 'monitoring looks');
    is($http->get('/status?format=health')->{body}, "ok\n", 'at its health');
    is($http->get('/status', headers => { 'X-Forwarded-For' => '192.0.2.1' })
       ->{status}, 403, 'nobody from elsewhere');
};


subtest 'the logs' => sub {
    my $events = sub {
        open my $f, '<', "$dir/fanout.log" or return;
        return map { Fanout::JSON::decode($_) } <$f>;
    };

    ok(wait_for(sub {
        grep { $_->{event} eq 'deny' && $_->{status} == 403
               && ($_->{origin} // '') eq 'https://evil.test' } $events->()
    }), 'who was refused');
    ok(wait_for(sub {
        grep { $_->{event} eq 'connect' && $_->{addr} eq '192.0.2.10' }
        $events->()
    }), 'where who got in came from');
    ok(-s "$dir/access.log" && -s "$dir/fanout-api.log", 'NGINX\'s own');
};


subtest 'a reload' => sub {
    my $ann = join_in('ann', headers => { 'X-Forwarded-For' => '192.0.2.11' });

    $ann->ok('join', channel => 'room:9');
    $nginx->reload;

    $nginx->http->post('/fanout/channels/room:9/messages', '"during"');

    my $got = $ann->next_where(sub { $_[0]{data} || $_[0]{closing} }, 30);

    ok($got, 'it is served on, or told to come back');
    ok(wait_for(sub { $nginx->http->get('/status?format=health')->{status}
                      == 200 }), 'the new workers serve');
};
