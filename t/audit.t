#!/usr/bin/env perl

# fanout_log as an audit log: what was refused and by which rule, who changed
# what, conflicts, who was thrown out; to a file and to syslog, sampled, by
# level. If this fails, an operator does not find out who did what, a client
# writes lines of its own, or a syslog server that is down takes the hub along.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $syslog = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die;
my $port = $syslog->sockport;
my $dead = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die;
my $dead_port = $dead->sockport;

$dead->close;

my $nginx = Fanout::Nginx->start(
    allow => [ qr/connect\(\) failed \(2: No such file/ ],    # none.sock
    http => <<"END",
        fanout_zone app 8m;
        fanout_channel app only:* history=10 presence=on publish=members;
        fanout_channel app * history=100 records=on locks=1m presence=on;
        fanout_budget off;
        fanout_rate off;
        fanout_log syslog:server=127.0.0.1:$port,facility=local7,tag=audit,nohostname
                   json level=notice;
        fanout_log %%DIR%%/audit.log events=deny,auth,conflict,kick,change,block,revoke;
        fanout_log %%DIR%%/sampled.log events=publish,join,deny
                   sample=publish:10,join:3;
        fanout_log %%DIR%%/all.log;
        fanout_log %%DIR%%/own.log
            '\$event [\$user] [\$channel] [\$name] [\$op] [\$rule] \$offset'
            events=change,publish,conflict,deny;
END
    server => <<"END",
        location /rt {
            fanout app;
            fanout_user \$arg_user;
            fanout_permit all *;
        }
        location /some {
            fanout app;
            fanout_user \$arg_user;
            fanout_origin https://app.example.com;
            fanout_permit join,presence *;
        }
        location /dead {
            fanout app;
            fanout_permit all *;
            fanout_log syslog:server=127.0.0.1:$dead_port events=publish;
            fanout_log syslog:server=unix:%%DIR%%/none.sock events=publish;
        }
        location /raw { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /jwt {
            fanout app;
            fanout_jwt 'secret=only the backend knows this' channel=channel;
            fanout_user \$fanout_claim_sub;
        }
        location /api/ { fanout_api app; }
END
);

my $http = $nginx->http;
my $dir  = $nginx->dir;


sub lines {
    my ($file) = @_;

    open my $f, '<', "$dir/$file" or return;
    return grep { /\n\z/ } readline $f;
}

sub events { return map { Fanout::JSON::decode($_) } lines(@_) }

sub wait_events {
    my ($file, $n, %of) = @_;
    my @events;

    wait_for(sub {
        @events = grep {
            my $e = $_;
            !grep { ($e->{$_} // '') ne $of{$_} } keys %of
        } events($file);
        return @events >= $n;
    });

    return @events;
}

sub datagrams {
    my ($n) = @_;
    my @got;
    my $until = time() + 10;
    my $select = IO::Select->new($syslog);

    while (@got < $n && time() < $until) {
        next if !$select->can_read(0.2);
        $syslog->recv(my $bytes, 65536);
        push @got, $bytes;
    }

    return @got;
}

sub quiet {
    my $select = IO::Select->new($syslog);
    return !$select->can_read(0.3);
}

sub drain { my $b; $syslog->recv($b, 65536) while IO::Select->new($syslog)->can_read(0.1) }


subtest 'which rule' => sub {
    my $eve = $nginx->native(path => '/some?user=eve');

    $eve->ok('join', channel => 'a');
    $eve->cmd('publish', channel => 'a', data => 1);
    $eve->cmd('history', channel => 'a');
    $eve->cmd('publish', channel => 'a', data => 1, to => { user => 'ann' });

    my $ann = $nginx->native(path => '/rt?user=ann');
    $ann->cmd('publish', channel => 'only:a', data => 1);
    eval { $nginx->ws(path => '/some?user=eve',
                      headers => { Origin => 'https://evil.example' }) };

    my @deny = wait_events('audit.log', 5, event => 'deny');
    is(join("\n", map { join ' ', $_->{op} || '-', $_->{rule} || '-' } @deny),
       "publish fanout_permit publish\nhistory fanout_permit history\n"
       . "publish fanout_permit publish\npublish fanout_channel publish=members\n"
       . "- fanout_origin", 'each has its rule');
    is($deny[0]{user}, 'eve', 'and says who');

    my @got = datagrams(5);
    is(scalar @got, 5, 'syslog has them');
    like($_, qr/^<188>\w{3} [ \d]\d \d\d:\d\d:\d\d audit: \{"time":.*"event":"deny".*\}\z/,
         'facility local7, severity warn, a tag, no end of line') for @got;
    ok(quiet(), 'and nothing of less severity');
};


subtest 'conflicts and changes' => sub {
    my ($ann, $bob) = map { $nginx->native(path => "/rt?user=$_") } qw( ann bob );
    my @c = (channel => 'table');

    $_->ok('join', @c) for $ann, $bob;
    $ann->ok('set', @c, record => 'r', set => { a => 1 });
    $ann->ok('set', @c, record => 'r', set => { a => 1 }, base => 1);
    $bob->cmd('set', @c, record => 'r', set => { a => 2 }, base => 0);
    $bob->cmd('delete', @c, record => 'r', base => 7);
    $ann->ok('lock', @c, name => 'r.a');
    $bob->cmd('lock', @c, name => 'r.a');
    $bob->cmd('publish', @c, data => 1, if => { epoch => 'x', offset => 1 });
    $bob->ok('delete', @c, record => 'r');

    my @e = wait_events('audit.log', 4, event => 'conflict');
    is(join(', ', map { "$_->{user} $_->{op} " . ($_->{name} // '-')
                        . " $_->{reason} $_->{status}" } @e),
       'bob set r conflict 409, bob delete r conflict 409, '
       . 'bob lock r.a locked 409, bob publish - conflict 409', 'conflicts');

    @e = wait_events('audit.log', 2, event => 'change');
    is(join(', ', map { "$_->{user} $_->{op} $_->{channel} $_->{name} $_->{offset}" }
            @e), "ann set table r 1, bob delete table r 3",
       'who changed what, and where it is');
    ok(!grep({ exists $_->{set} || exists $_->{data} } @e), 'but not to what');

    my @got = datagrams(4);
    is(scalar(grep { /^<189>.*"conflict"/ } @got), 4, 'conflicts are notices');
    ok(quiet(), 'changes are not');
};


subtest 'thrown out' => sub {
    my ($ann, $bob) = map { $nginx->native(path => "/rt?user=$_") } qw( ann bob );

    $_->ok('join', channel => 'kick') for $ann, $bob;
    $http->delete('/api/clients/' . $ann->client . '?channel=kick');
    $http->delete('/api/users/bob');

    my @e = wait_events('audit.log', 2, event => 'kick');
    is(join(', ', sort map { "$_->{user} $_->{op} " . ($_->{channel} // '-') } @e),
       'ann leave kick, bob disconnect -', 'kicks');
    is(scalar(grep { /^<189>.*"kick"/ } datagrams(2)), 2, 'are notices');
};


subtest 'samples' => sub {
    my $ann = $nginx->native(path => '/rt?user=sam');
    my $w = scalar grep { $_->{event} eq 'publish' } events('sampled.log');

    $ann->ok('join', channel => "s$_") for 1 .. 12;
    $ann->ok('publish', channel => 's1', data => $_) for 1 .. 100;
    $nginx->native(path => '/some?user=sam')
        ->cmd('publish', channel => "x$_", data => 1) for 1 .. 3;

    my @e = wait_events('sampled.log', 3, event => 'deny', user => 'sam');
    is(scalar @e, 3, 'all that was refused');
    ok(!exists $e[0]{sample}, 'each for itself');

    @e = wait_events('sampled.log', 10, event => 'publish', user => 'sam');
    is(scalar @e, 10, 'one of ten publishes');
    is(join(' ', map { $_->{offset} % 10 } @e),
       join(' ', ($e[0]{offset} % 10) x 10), 'every tenth');
    is($e[0]{sample}, 10, 'for ten');

    @e = wait_events('sampled.log', 4, event => 'join', user => 'sam');
    is(scalar @e, 4, 'one of three joins');

    is(scalar(grep { $_->{event} =~ /^(publish|change)$/ } events('all.log')), 0,
       'a log without events= has no line for each message');
};


subtest 'lines that are forged' => sub {
    drain();

    my @evil = (
        "x\n{\"event\":\"kick\"}", "x\r\n<0>root: gone", 'a","event":"auth',
        "\e[2J\e]0;t\a", "a\x{2028}b\x{202e}c", '] [root', "\\\"", "\x{85}x",
    );
    my $escaped = sub { join '', map { sprintf '%%%02X', ord } split //, $_[0] };

    for my $evil (@evil) {
        my $utf8 = $evil;
        utf8::encode($utf8);

        # the server takes no user or channel with control characters, but
        # refusals tell of them

        eval { $nginx->ws(path => '/some?user=' . $escaped->($utf8)
                                  . '&channel=' . $escaped->($utf8),
                          headers => { Origin => 'https://e' }) };

        my $c = $nginx->native(path => '/rt?user=u');

        for my $channel ('a', $evil) {
            $c->cmd('set', channel => $channel, record => $evil, set => { a => 1 });
            $c->cmd('set', channel => $channel, record => $evil, base => 9,
                    set => { a => 1 });
            $c->cmd('lock', channel => $channel, name => $evil);
            $c->cmd('publish', channel => $channel, event => $evil, key => $evil,
                    data => $evil);
        }
    }

    sleep 0.3;

    for my $file ('audit.log', 'all.log', 'sampled.log') {
        my @bad = grep { !eval { Fanout::JSON::decode($_); 1 } } lines($file);
        is(scalar @bad, 0, "$file: each line is an object");
        is(scalar(grep { /[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]/ }
                  lines($file)), 0, 'nothing for terminals');
    }

    is(scalar(grep { $_->{event} eq 'kick' } events('audit.log')), 2,
       'no event that was not');
    is(scalar(grep { !/^(publish|change|conflict|deny) \[[ -!#-~]*\] .* (\d+|-)$/ }
              lines('own.log')), 0, 'text lines begin with their event');
    is(scalar(grep { /[^ -~\n]/ } lines('own.log')), 0, 'and are ASCII');

    my @got = datagrams(8);
    is(scalar(grep { /[\x00-\x1f\x7f]/ } @got), 0, 'syslog: one line each');
    is(scalar(grep { /^<18[89]>/ } @got), scalar @got, 'with their own severity');
};


subtest 'who is shut out' => sub {
    my $sign = sub { Fanout::JWT::sign('HS256', 'only the backend knows this', { @_ }) };
    my $hal = $nginx->native(path => '/rt?user=hal');
    my $jim = $nginx->native(path => '/jwt', token => $sign->(sub => 'jim', jti => 'j1'));
    my $ken = $nginx->native(path => '/jwt', token => $sign->(sub => 'ken', jti => 'j2'));

    $ken->ok('join', channel => 'k',
             token => $sign->(sub => 'ken', channel => 'k', jti => 'j3'));

    # each is seen before the next one

    $http->request(PUT => '/api/denials/user:hal?for=60');
    $hal->wait_close(20);
    $http->request(DELETE => '/api/denials/user:hal');
    $http->request(DELETE => '/api/denials/user:hal');
    $http->request(PUT => '/api/denials/token:j1?for=60');
    $http->request(PUT => '/api/denials/token:j3?for=60');
    $ken->next_where(sub { $_[0]{left} }, 20);
    $http->post('/api/users/ken/revoke?for=60', '');
    $ken->wait_close(20);
    $http->post('/api/users/ken/reauthorize?within=5000', '');

    my @block = wait_events('audit.log', 3, event => 'block');
    my @revoke = wait_events('audit.log', 7, event => 'revoke');
    my $line = sub {
        my ($e) = @_;
        return join ' ', map { $_ // '-' } @$e{qw( op name user channel addr )},
                   defined $e->{name} ? $e->{duration} : '';
    };

    is(join("\n", sort map { $line->($_) } @block), join("\n", sort
        'put user:hal - - 127.0.0.1 60', 'delete user:hal - - 127.0.0.1 0',
        'disconnect - hal - 127.0.0.1 '), 'what was done, and to whom');
    is(join("\n", sort map { $line->($_) } @revoke), join("\n", sort
        'put token:j1 - - 127.0.0.1 60', 'disconnect - jim - 127.0.0.1 ',
        'put token:j3 - - 127.0.0.1 60', 'leave - ken k 127.0.0.1 ',
        'put tokens:ken - - 127.0.0.1 60', 'disconnect - ken - 127.0.0.1 ',
        'reauthorize user:ken - - 127.0.0.1 5'), 'tokens, too');
};


subtest 'a server that is down' => sub {
    my $c = $nginx->native(path => '/dead');
    my $before = () = $nginx->log_like(qr/syslog/);
    my $at = time();

    $c->ok('publish', channel => 'd', data => $_) for 1 .. 500;

    cmp_ok(time() - $at, '<', 10, '500 publishes do not wait for it');
    sleep 1.5;
    $c->ok('publish', channel => 'd', data => $_) for 1 .. 100;

    my @said = $nginx->log_like(qr/syslog/);
    cmp_ok(scalar @said, '<=', 8, 'and the error log is not filled');
    ok(scalar(grep { /fanout_log can't send to syslog/ } @said), 'but says so');
    ok($c->ok('ping'), 'all goes on');
};


$nginx->done_testing;
