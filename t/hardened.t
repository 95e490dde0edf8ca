#!/usr/bin/env perl

# conf/hardened.conf, and what docs/hardening.md says of attackers: if this fails,
# somebody gets in, reads, speaks as another, or takes more than the file allows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw( make_path );
use File::Temp qw( tempdir );

use Fanout::Certs;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Quickstart;


my $dir = tempdir('fanout-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chmod 0755, $dir;

my $certs = Fanout::Certs->make($dir);
my $key   = Fanout::JWT::key_pair('RS256', $dir);
my $eve   = Fanout::JWT::key_pair('RS256', $dir);

$certs->write('keys/provider.json', Fanout::JWT::jwks(k => $key));
$certs->write('fanout.htpasswd', "svc:{PLAIN}secret\n");
make_path("$dir/app");
$certs->write('app/index.html', "the application\n");

# each has to be there: what is not replaced would touch the system; clients of a
# test have many addresses

my $text = Fanout::Quickstart::text('hardened');

for (
    [ qr/listen 80 /           => 'listen 127.0.0.1:%%PORT1%% ' ],
    [ qr/listen 443 ssl/       => 'listen 127.0.0.1:%%TLSPORT%% ssl' ],
    [ qr/listen 127\.0\.0\.1:8081;/ => 'listen 127.0.0.1:%%PORT%%;' ],
    [ qr/worker_processes auto;/ => 'worker_processes 2;' ],
    [ qr/^pid .*?;\n/m         => '' ],
    [ qr/^error_log .*?;\n/m   => '' ],
    [ qr{/var/log/nginx/}      => "$dir/" ],
    [ qr{/srv/app}             => "$dir/app" ],
    [ qr/server_tokens off;/   => "server_tokens off; set_real_ip_from 127.0.0.1;"
                                  . " real_ip_header X-Test-Address;" ],
) {
    my ($what, $by) = @$_;

    $text =~ s/$what/$by/g or die "hardened.conf has no $what\n";
}

$text = $certs->placed(runnable($text)) =~ s/^\s*access_log off;\n//mr;
unlike($text, qr{^[^#\n]*(?:/etc/nginx|/var/log|/run/|/srv)}m,
       'nothing of the system');

my $nginx = Fanout::Nginx->start(
    conf  => $text,
    dir   => $dir,
    tls   => 1,
    allow => [ qr/setrlimit\(RLIMIT_NOFILE, 65536\) failed/ ],
);

unlike($nginx->log, qr/\[warn\] (?!.*setrlimit)/, 'no warning');

my $address = 0;


sub token {
    my (%claims) = @_;
    my $by = delete $claims{by} || $key;

    return Fanout::JWT::sign('RS256', $by, {
        iss => 'https://id.example.com/', sub => 'ann', room => '1',
        aud => 'https://app.example.com/realtime', %claims }, kid => 'k');
}


sub page {
    my (%o) = @_;

    $address++;

    return {
        Host   => 'app.example.com',
        Origin => 'https://app.example.com',
        'X-Test-Address' => '192.0.2.' . $address % 250,
        exists $o{token} && !defined $o{token} ? ()
            : (Authorization => 'Bearer ' . ($o{token} // token())),
        %{ $o{headers} || {} },
    };
}


sub come {
    my (%o) = @_;

    return $nginx->native(tls => 1, path => '/realtime', expect => undef,
                          welcome => 0, headers => page(%o));
}


sub user {
    my ($name, %o) = @_;

    my $client = come(token => token(sub => $name), %o);

    $client->next_push;

    return $client;
}


subtest 'strangers' => sub {
    for ([ 'no token', undef ], [ 'another signer', token(by => $eve) ],
         [ 'another issuer', token(iss => 'https://evil.example/') ],
         [ 'another audience', token(aud => 'https://app.example.com/api') ],
         [ 'expired', token(exp => CORE::time() - 60) ],
         [ 'no end', token(exp => undef) ],
         [ 'too large', token(x => 'x' x 4000) ])
    {
        is(come(token => $_->[1])->status, 401, $_->[0]);
    }

    is(come()->status, 101, 'a user');
    come(token => token(by => $eve, exp => 1, aud => 'x', sub => 'spy'));
    ok(wait_for(sub {
        2 <= (() = Fanout::Certs::slurp("$dir/fanout.log")
                   =~ /"reason":"the token's signature is wrong"/g)
    }), 'claims are not looked at without a signature');
    unlike(Fanout::Certs::slurp("$dir/fanout.log"), qr/"spy"/, 'nor believed');

    my $http  = $nginx->http(tls => 1);
    my $began = CORE::time();
    my $wrong = page(token => token(by => $eve),
                     headers => {
        'X-Test-Address' => '198.51.100.1',
        Connection => 'Upgrade', Upgrade => 'websocket',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==' });
    my %got;

    $got{$http->get('/realtime', headers => $wrong)->{status}}++ for 1 .. 100;
    is(join(' ', sort keys %got), '401 429', 'a flood of tokens');
    cmp_ok($got{401}, '<=', 22 + 5 * (CORE::time() - $began + 1),
           'few are tried');
    is(come()->status, 101, 'others get in');

    my $host = { Host => 'app.example.com' };

    is($http->get($_, headers => $host)->{status}, 404, "no $_")
        for '/fanout/channels', '/status', '/realtime/', '/fanout/';
    is($http->get('/', headers => $host)->{body}, "the application\n",
       'but the application');

    my $services = $nginx->http;
    my %login = (Authorization => 'Basic ' . 'c3ZjOnNlY3JldA==');

    is($services->get('/fanout/channels')->{status}, 401, 'no password');
    is($services->get('/fanout/channels', headers => {
        Authorization => 'Basic eDp5' })->{status}, 401, 'a wrong one');
    is($services->get('/fanout/channels', headers => {
        %login, 'X-Test-Address' => '192.0.2.1' })->{status}, 403,
       'from elsewhere');
    is($services->get('/fanout/channels', headers => {
        %login, 'X-Test-Address' => '127.0.0.1' })->{status}, 200,
       'the backend');
};


subtest 'pages' => sub {
    for (qw( https://evil.example http://app.example.com null
             https://x.app.example.com https://app.example.com.evil.example
             https://app.example.com:8443 ))
    {
        is(come(headers => { Origin => $_ })->status, 403, $_);
    }

    my $closed = eval {
        $nginx->http(tls => 1)->get('/realtime', headers => {
            Host => 'rebind.evil.example' });
        0;
    };

    ok(!defined $closed, 'another name of this host: no answer');

    for my $path ('/realtime?channel=room/1', '/realtime?poll=1&channel=room/1') {
        is($nginx->http(tls => 1)->get($path, headers => page())->{status}, 403,
           "not served: $path");
    }

    is($nginx->http(tls => 1)->post('/realtime', '{"id":1,"op":"ping"}',
           headers => { %{ page() }, 'Content-Type' => 'application/json' }
       )->{status}, 403, 'nor POST');
};


subtest 'users' => sub {
    my $ann = user('ann');
    my $bob = user('bob');
    my $sly = user('ann/x');

    $_->ok('join', channel => 'room/1') for $ann, $bob;
    $ann->ok('join', channel => 'user/ann');

    for ([ $ann, join => 'user/bob' ], [ $ann, join => 'room/2' ],
         [ $ann, publish => 'user/ann' ], [ $ann, publish => 'user/bob' ],
         [ $sly, join => 'user/ann/x' ],
         [ $sly, join => 'user/ann' ])
    {
        my ($who, $op, $channel) = @$_;

        is($who->cmd($op, channel => $channel,
                     $op eq 'publish' ? (data => 1) : ())->{error}{code},
           'forbidden', "$op $channel");
    }

    is($ann->cmd('join', channel => 'room/1', presence => {})->{error}{code},
       'forbidden', 'no members');
    is($ann->cmd('publish', channel => 'room/1', to => { user => 'bob' },
                 data => 1)->{error}{code}, 'forbidden', 'no direct messages');

    is($bob->cmd('publish', channel => 'room/1', data => 'hi',
                 from => { user => 'ann' })->{error}{code}, 'bad_request',
       'nobody says who they are');
    $bob->ok('publish', channel => 'room/1', data => 'hi');
    is_deeply([ keys %{ $ann->next_push->{from} } ], [ 'client' ],
              'the server does, and by the client alone');

    is($ann->cmd('publish', channel => 'room/1', data => 'x' x 5000)
           ->{error}{code}, 'too_large', 'a large message');

    my @codes = map { ($ann->cmd('ping')->{error} || {})->{code} // 'ok' } 1 .. 60;

    ok((grep { $_ eq 'rate_limited' } @codes), 'a flood of commands');
    cmp_ok(scalar(grep { $_ eq 'ok' } @codes), '<=', 35, 'of which few pass');
};


subtest 'sessions' => sub {
    my @own = map { come(token => token(sub => 'many')) } 1 .. 8;
    my @in  = grep {
        my $push = $_->status == 101 ? $_->next_push : {};
        $push->{welcome};
    } @own;

    cmp_ok(scalar @in, '>=', 1, 'some of a user');
    cmp_ok(scalar @in, '<=', 5, 'not more');
};


# what docs/hardening.md tells to try

subtest 'the checklist' => sub {
    my $doc = Fanout::Nginx::slurp("$FindBin::Bin/../docs/hardening.md");
    my ($commands) = $doc =~ /^```sh check\n(.*?)^```/ms or die 'no commands';
    my @status = $doc =~ /^# (\d{3})/mg;
    my $at = '127.0.0.1:' . $nginx->port('TLSPORT');

    $commands =~ s{https://app\.example\.com}{https://$at}g;
    $commands =~ s/curl /curl -k -H 'Host: app.example.com' /g;
    $commands =~ s/^# \d{3}.*\n//mg;

    is(join(' ', split /\n/, `$commands`), join(' ', @status), 'answers');
    cmp_ok(scalar @status, '>=', 4, 'all of them');
};


subtest 'the logs' => sub {
    my $log = sub { Fanout::Certs::slurp("$dir/$_[0]") };

    ok(wait_for(sub { $log->('fanout.log') =~ /"event":"deny".*evil\.example/ }),
       'who was refused');
    $nginx->stop('quit');

    my $all = join '', map { $log->($_) }
              qw( access.log fanout.log fanout-api.log );

    unlike($all, qr/eyJ/, 'no token');
    unlike($all, qr/secret/, 'no password');
};
